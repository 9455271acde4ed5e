"""Pure planners, one package a kind: what was observed and the time go in, a plan comes out."""
