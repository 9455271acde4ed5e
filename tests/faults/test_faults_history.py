"""The time line of a failure: complete, in order, safe to open, readable in the light and in the dark."""

from html.parser import HTMLParser

from operator_faults import history
from operator_faults.proxy import Exchange, Request


class Cells(HTMLParser):
    """The table's rows, and whatever would be loaded from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.classes: list[str] = []
        self.foreign: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.foreign += [f"{tag} {name}" for name, _ in attrs if name in {"src", "href"}]
        if tag == "script":
            self.foreign.append(tag)
        if tag == "tr":
            self.rows.append([])
            self.classes.append(dict(attrs).get("class") or "")

    def handle_data(self, data: str) -> None:
        if self.rows and data.strip():
            self.rows[-1].append(data)


LOG = [
    Exchange(100.5, Request("operator-1", "PATCH", "/apis/a/v1/namespaces/n/bs/<b>", "", number=1), 500, seconds=0.25),
    Exchange(100.0, Request("operator-1", "GET", "/api/v1/pods", "watch=true", watch=True), 200),
    Exchange(102.0, Request("operator-2", "POST", "/api/v1/pods", "", number=2), 0, "request lost"),
]


def parsed() -> Cells:
    cells = Cells()
    cells.feed(history.page("F1 <x>", "it's & broken", LOG, [(101.0, "operator-1 killed")]))
    return cells


def test_each_request_is_a_row_in_the_order_of_time() -> None:
    rows = parsed().rows[1:]
    assert [row[:3] for row in rows] == [
        ["0.000", "operator-1", "WATCH"],
        ["0.500", "operator-1", "1"],
        ["1.000", "operator-1 killed"],
        ["2.000", "operator-2", "2"],
    ]
    assert rows[1] == ["0.500", "operator-1", "1", "PATCH", "/apis/a/v1/namespaces/n/bs/<b>", "500", "250"]
    assert rows[3][-1] == "request lost"


def test_writes_errors_and_faults_stand_out() -> None:
    assert parsed().classes[1:] == ["", "write error", "note", "write fault"]


def test_the_page_is_self_contained_and_has_two_colour_schemes() -> None:
    assert parsed().foreign == []
    page = history.page("t", "p", LOG)
    assert "prefers-color-scheme: dark" in page
    assert "<x>" not in history.page("F1 <x>", "p", LOG)


def test_a_run_that_asked_for_nothing_has_a_page_too() -> None:
    assert "never started" in history.page("t", "it never started", [])
