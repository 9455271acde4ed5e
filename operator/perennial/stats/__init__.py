"""Judging counts while they come in: e-processes, intervals and verdicts. Pure: numpy, no clock, no chance.

`rates` holds the tests, `judge` the verdict on a canary, `detect` the alarm on cohorts, `paired` the intervals of
the training gate. All evidence is a function of the tables of counts it is computed from.
"""
