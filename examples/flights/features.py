"""What the model sees of a flight: ten numbers, known an hour before its departure.

Categories are encoded by their place in fixed lists, so that a code means the same in every week and in every request.
"""

import pandas as pd

CARRIERS = ["9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV"]
ORIGINS = ["EWR", "JFK", "LGA"]
DESTINATIONS = """
ABQ ACK ALB ANC ATL AUS AVL BDL BGR BHM BNA BOS BQN BTV BUF BUR BWI BZN CAE CAK CHO CHS CLE CLT CMH CRW CVG DAY DCA DEN
DFW DSM DTW EGE EYW FLL GRR GSO GSP HDN HNL HOU IAD IAH ILM IND JAC JAX LAS LAX LEX LGA LGB MCI MCO MDW MEM MHT MIA MKE
MSN MSP MSY MTJ MVY MYR OAK OKC OMA ORD ORF PBI PDX PHL PHX PIT PSE PSP PVD PWM RDU RIC ROC RSW SAN SAT SAV SBN SDF SEA
SFO SJC SJU SLC SMF SNA SRQ STL STT SYR TPA TUL TVC TYS XNA
""".split()  # noqa: SIM905 - a hundred quotes more would not be read more easily
UNKNOWN = -1

FEATURES = [
    "carrier_code",
    "origin_code",
    "destination_code",
    "hour",
    "minute",
    "weekday",
    "distance",
    "precipitation",
    "visibility",
    "wind_speed",
]
TARGET = "late"
TIME = "scheduled_departure"


def codes(values: pd.Series, categories: list[str]) -> pd.Series:
    """Return each value's place in a list; what is not in it becomes UNKNOWN."""
    places = {name: place for place, name in enumerate(categories)}
    return values.map(places).fillna(UNKNOWN).astype("int64")


def encoded(flights: pd.DataFrame) -> pd.DataFrame:
    """Return flights with the three codes added."""
    return flights.assign(
        carrier_code=codes(flights["carrier"], CARRIERS),
        origin_code=codes(flights["origin"], ORIGINS),
        destination_code=codes(flights["destination"], DESTINATIONS),
    )
