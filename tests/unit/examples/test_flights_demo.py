"""What of the demo can be told without a cluster, and the bad candidate's server."""

import itertools
import json
from pathlib import Path

import demo
import lake
import mlflow
import pandas as pd
import pytest
from aiohttp import ClientSession, web
from features import FEATURES
from flaky_server import FAILING_SHARE, app
from replay import request_of
from train import Settings, fit


def test_every_image_of_the_users_own_is_the_one_that_the_demo_puts_in(example: Path) -> None:
    manifests = [*example.glob("*.yaml"), *example.glob("bad/*.yaml")]
    images = [
        line.split("image:")[1].strip()
        for path in manifests
        for line in path.read_text().splitlines()
        if "image:" in line
    ]
    assert set(images) == {demo.PLACEHOLDER}
    assert len(images) == 5


def test_the_story_is_written_down_at_once_and_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    story = demo.Story(tmp_path / "demo" / "story.json")
    for number in range(3):
        story.tell(f"Thing/{number}", "Happened", {"number": number})
        written = json.loads(story.path.read_text())
        assert [event["evidence"]["number"] for event in written] == [*range(number + 1)]
    assert set(written[0]) == {"time", "object", "what", "evidence"}
    assert "Thing/2: Happened" in capsys.readouterr().out


def test_commands_that_fail_or_are_missing_are_told_in_a_sentence() -> None:
    with pytest.raises(demo.DidNotHappenError, match="no-such-tool must be on PATH"):
        demo.output_of("no-such-tool")
    with pytest.raises(demo.NoAnswerError, match="no such namespace"):
        demo.output_of("sh", "-c", "echo no such namespace >&2; exit 3")


def test_a_long_command_says_that_it_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "PROGRESS_SECONDS", 0.05)
    counted = itertools.count()
    assert demo.output_of("sh", "-c", "sleep 0.5; cat", text="kept", waiting=lambda: next(counted)) == "kept"
    assert next(counted) > 0


def test_a_chapter_that_does_not_come_names_the_last_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(demo.Story, "listen", lambda _: None)
    monkeypatch.setattr(demo, "ROOT", tmp_path)
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "images.json").write_text("{}")
    made = demo.Demo(demo.Story(tmp_path / "story.json"))
    looks = itertools.count()

    def look() -> str | None:
        if next(looks) < 3:
            raise demo.NoAnswerError("kubectl get: connection refused")
        return "there"

    assert made.until("it", look, 60) == "there"
    with pytest.raises(
        demo.DidNotHappenError, match=r"peace did not happen within 0\.1 s\. The last answer was: 'status'"
    ):
        made.until("peace", lambda: {}["status"], 0.1)


@pytest.mark.filterwarnings("default")  # MLflow's own
async def test_the_bad_server_answers_as_the_model_does_but_for_some(year: pd.DataFrame, tmp_path: Path) -> None:
    rows = lake.week_rows(year, 1)
    booster, _ = fit(rows, Settings(trees=5))
    mlflow.lightgbm.save_model(booster, str(tmp_path / "model"), pip_requirements=[])
    runner = web.AppRunner(app(str(tmp_path / "model"), seed=0))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    statuses = []
    try:
        async with ClientSession(site.name) as session:
            for path in ("/v2/health/live", "/v2/health/ready"):
                async with session.get(path) as answer:
                    assert answer.status == 200
            for flight in rows.head(400).to_dict("records"):
                async with session.post("/invocations", json=request_of(flight)) as answer:
                    statuses.append(answer.status)
                    said = await answer.json()
                    if answer.status == 200:
                        expected = booster.predict([[flight[name] for name in FEATURES]])
                        assert said["predictions"] == pytest.approx(expected.tolist(), abs=0)
    finally:
        await runner.cleanup()
    assert set(statuses) == {200, 500}
    assert statuses.count(500) / len(statuses) == pytest.approx(FAILING_SHARE, abs=0.05)
