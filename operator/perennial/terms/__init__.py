"""The ground that everything stands on: forms of values, names, words, text. Imports nothing of Perennial's."""
