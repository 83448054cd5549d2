"""Tests for making datasets."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from bag_scene import Recorded

from dream_vla_ros.data import convert as convert_module
from dream_vla_ros.data import convert_job
from dream_vla_ros.data import dataset_layout as layout
from dream_vla_ros.data.bag import Bag
from dream_vla_ros.data.bag_episodes import BagRules, read_episodes
from dream_vla_ros.data.convert import Conversion, Progress, convert, find_sources
from dream_vla_ros.data.convert_job import SourceKind
from dream_vla_ros.data.dataset_read import Dataset
from dream_vla_ros.data.dataset_stage import ImageRules, ImageStorage
from dream_vla_ros.data.episode_metadata import EpisodeMetadata
from dream_vla_ros.data.errors import DataError, DatasetError
from dream_vla_ros.data.idle import IdleRule, Trim
from dream_vla_ros.images import Preprocessing, preprocess
from dream_vla_ros.model.statistics import DatasetStatistics

ROBOT = Path(__file__).parents[2] / "config" / "tabletop.yaml"
RULES = BagRules(idle=IdleRule(Trim.NONE))
# What even sides, 4:2:0 colour and compression cost at most, on average, in levels of 255.
VIDEO_LEVELS = 12.0


@pytest.fixture(scope="session")
def bags(tmp_path_factory, make_scene, own_writer) -> Path:
    """Three episodes: raw images, JPEG images, and one that failed."""
    folder = tmp_path_factory.mktemp("bags")
    done = EpisodeMetadata(task="stack the blocks", success=True)
    own_writer(folder / "a_raw", make_scene().messages(), done)
    jpeg = make_scene(compressed="jpg", duration_s=5.0).messages()
    own_writer(folder / "b_jpeg", jpeg, replace(done, task="push"))
    own_writer(folder / "c_failed", make_scene().messages(), replace(done, success=False))
    return folder


def conversion(bags: Path, target: Path, **changes) -> Conversion:
    given = {"rules": RULES, "workers": 1} | changes
    return Conversion(find_sources([bags]), ROBOT, target, **given)


@pytest.fixture(scope="session")
def converted(bags, tmp_path_factory) -> dict[ImageStorage, Path]:
    folder = tmp_path_factory.mktemp("sets")
    for storage in ImageStorage:
        convert(conversion(bags, folder / storage.value, images=ImageRules(storage)))
    return {storage: folder / storage.value for storage in ImageStorage}


def kill_self(job: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }


@pytest.mark.parametrize("storage", list(ImageStorage))
def test_a_dataset_holds_what_the_bags_did(bags, converted, tabletop, storage):
    dataset = Dataset(converted[storage])
    assert [(one.instruction, one.length) for one in dataset.episodes] == [
        ("stack the blocks", 19),
        ("push", 24),
    ]
    for episode, name in zip(dataset.episodes, ("a_raw", "b_jpeg"), strict=True):
        with Bag(bags / name) as bag:
            (true,) = read_episodes(bag, tabletop, RULES).episodes
            columns = dataset.columns(episode)
            assert np.allclose(columns["action"], true.actions, atol=1e-6)
            assert np.allclose(columns["observation.state"], true.proprio, atol=1e-6)
            assert np.array_equal(columns["stamp_ns"], true.times_ns)
            assert np.allclose(columns["timestamp"], np.arange(len(true)) * 0.2, atol=1e-6)
            assert np.allclose(columns["motion"][:, :3], true.motion.translation, atol=1e-6)
            for camera in ("third_person", "wrist"):
                stored = [one.decode() for one in dataset.images(episode, camera)]
                assert len(stored) == len(true)
                for frame, image in enumerate(stored):
                    original = true.images[camera][frame].decode()
                    if storage is ImageStorage.EXACT:
                        assert np.array_equal(image, original)
                    else:
                        difference = np.abs(image.astype(int) - original.astype(int))
                        assert difference.mean() < VIDEO_LEVELS
                again = dataset.images(episode, camera)[7].decode()
                assert np.array_equal(again, stored[7])


def test_jpeg_images_are_kept_byte_for_byte(bags, converted, tabletop):
    dataset = Dataset(converted[ImageStorage.EXACT])
    with Bag(bags / "b_jpeg") as bag:
        (true,) = read_episodes(bag, tabletop, RULES).episodes
        kept = dataset.images(dataset.episodes[1], "wrist")
        assert kept[4].encoded == true.images["wrist"][4].encoded


def test_training_and_live_inference_see_the_same_images(bags, tmp_path, tabletop):
    size = 28
    rules = ImageRules(ImageStorage.EXACT, size=size)
    convert(conversion(bags, tmp_path / "set", images=rules))
    dataset = Dataset(tmp_path / "set")
    assert dataset.info["dream_vla"]["image_size"] == size
    live, rest = Preprocessing(size), Preprocessing(size, jpeg=False)
    with Bag(bags / "a_raw") as bag:
        (true,) = read_episodes(bag, tabletop, RULES).episodes
        for frame in (0, 8):
            seen = preprocess(true.observation(frame).images["third_person"], live)
            stored = dataset.images(dataset.episodes[0], "third_person")[frame].decode()
            assert np.array_equal(preprocess(stored, rest), seen)


def test_statistics_are_those_of_the_data(converted):
    dataset = Dataset(converted[ImageStorage.VIDEO])
    actions = np.concatenate([dataset.columns(one)["action"] for one in dataset.episodes])
    path = converted[ImageStorage.VIDEO] / layout.MODEL_STATISTICS
    data = json.loads(path.read_text())
    entry = data["tabletop"]["action"]
    for name, value in (("q01", 0.01), ("q99", 0.99)):
        assert np.allclose(entry[name], np.quantile(actions, value, axis=0), atol=1e-6)
    assert np.allclose(entry["mean"], actions.mean(axis=0), atol=1e-6)
    assert np.allclose(entry["std"], actions.std(axis=0), atol=1e-6)
    assert entry["mask"] == [True] * 6 + [False]
    read = DatasetStatistics(data, str(path))
    assert read.action["tabletop"].dim == 7
    assert read.proprio["tabletop"].dim == 8
    stats = json.loads((converted[ImageStorage.VIDEO] / layout.STATISTICS).read_text())
    assert set(stats["action"]) == {"min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"}
    camera = stats["observation.images.wrist"]
    assert np.array(camera["mean"]).shape == (3, 1, 1)
    assert 0.0 <= camera["q01"][0][0][0] <= camera["mean"][0][0][0] <= camera["q99"][0][0][0] <= 1.0


def test_the_layout_is_lerobots(converted):
    """Compare columns and types with those of a set that LeRobot itself wrote."""
    reference = Path(__file__).parent / "fixtures" / "lerobot_v3_video"
    ours = converted[ImageStorage.VIDEO]
    for name in (
        layout.TASKS,
        layout.EPISODES.format(**layout.place(0)),
        layout.DATA.format(**layout.place(0)),
    ):
        theirs = {field.name: field.type for field in pq.read_schema(reference / name)}
        mine = {field.name: field.type for field in pq.read_schema(ours / name)}
        for column, kind in theirs.items():
            assert column in mine, f"{name} lacks {column}"
            if str(kind) not in ("large_string", "string") and not column.startswith("stats/"):
                assert mine[column] == kind, f"{name}: {column}"
    their_info = json.loads((reference / layout.INFO).read_text())
    our_info = json.loads((ours / layout.INFO).read_text())
    assert set(their_info) <= set(our_info)
    assert set(their_info["features"]) <= set(our_info["features"])
    for name, feature in their_info["features"].items():
        assert our_info["features"][name]["dtype"] == feature["dtype"]
        assert set(feature) <= set(our_info["features"][name])
    rows = pq.read_table(ours / layout.EPISODES.format(**layout.place(0))).to_pylist()
    assert [row["dataset_from_index"] for row in rows] == [0, 19]
    assert rows[1]["videos/observation.images.wrist/from_timestamp"] == pytest.approx(19 * 0.2)
    assert rows[0]["stats/action/count"] == [19]


# Several conversions, each with processes of its own, which are slow to start on a busy machine.
@pytest.mark.timeout(400)
def test_the_result_does_not_depend_on_processes_or_interruptions(bags, converted, tmp_path):
    expected = tree(converted[ImageStorage.VIDEO])
    script = (
        "import sys; from pathlib import Path\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from dream_vla_ros.data.bag_episodes import BagRules\n"
        "from dream_vla_ros.data.convert import Conversion, convert, find_sources\n"
        "from dream_vla_ros.data.idle import IdleRule, Trim\n"
        "def told(progress):\n"
        "    if progress.sources_done == 1: print('one is done', flush=True); sys.stdin.read()\n"
        "if __name__ == '__main__':\n"
        f"    convert(Conversion(find_sources([Path({str(bags)!r})]), Path({str(ROBOT)!r}), "
        f"Path({str(tmp_path / 'set')!r}), BagRules(idle=IdleRule(Trim.NONE)), workers=1), told)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "one is done\n"
    process.kill()
    process.wait()
    assert not (tmp_path / "set" / layout.INFO).exists()
    images: list[int] = []

    def note(progress: Progress) -> None:
        images.append(progress.images)

    convert(conversion(bags, tmp_path / "set", workers=2), note)
    assert tree(tmp_path / "set") == expected
    assert max(images) == 2 * 24  # the first bag was not done again


def test_the_report_accounts_for_every_frame(bags, converted, tmp_path):
    report = json.loads((converted[ImageStorage.VIDEO] / layout.REPORT).read_text())
    assert [Path(one["source"]).name for one in report] == ["a_raw", "b_jpeg", "c_failed"]
    for outcome in report[:2]:
        kept = sum(episode["length"] for episode in outcome["episodes"])
        assert kept + sum(outcome["dropped"].values()) == outcome["ticks"]
    assert "failed" in report[2]["left_out"]
    everything = convert(conversion(bags, tmp_path / "all", rules=replace(RULES, include_failed=True)))
    assert everything.episodes == 3
    assert Dataset(tmp_path / "all").episodes[2].success is False


def test_a_bad_bag_spoils_only_itself(bags, tmp_path):
    shutil.copytree(bags, tmp_path / "bags")
    (tmp_path / "bags" / "a_raw" / "a_raw_0.mcap").write_bytes(b"nonsense" * 100)
    report = convert(conversion(tmp_path / "bags", tmp_path / "set"))
    assert report.failed
    assert report.episodes == 1
    assert any("a_raw: FAILED" in line and "not an MCAP file" in line for line in report.lines())


def test_images_that_cannot_be_decoded_are_left_out(bags, tmp_path, make_scene, own_writer, spoil_images):
    messages = spoil_images(make_scene(compressed="jpg").messages(), "wrist", range(30, 33))
    own_writer(tmp_path / "bag", messages, EpisodeMetadata(task="t", success=True))
    report = convert(conversion(tmp_path / "bag", tmp_path / "set"))
    (outcome,) = report.outcomes
    # At 15 Hz an image within 0.1 s is there for every tick, though not the nearest one.
    assert any("damaged images left out" in note for note in outcome.notes)
    assert outcome.kept == 19
    assert not report.failed


def test_what_nobody_foresaw_in_one_source_does_not_cost_the_others(bags, tmp_path, monkeypatch):
    def read(bag: Bag, *arguments: object) -> object:
        if bag.name == "a_raw":
            raise ZeroDivisionError("seldom")
        return read_episodes(bag, *arguments)

    monkeypatch.setattr(convert_job, "read_episodes", read)
    report = convert(conversion(bags, tmp_path / "set"))
    assert report.failed
    assert report.episodes == 1
    assert any("a_raw: FAILED: unexpected error" in line and "seldom" in line for line in report.lines())


def test_a_worker_that_is_killed_is_told(bags, tmp_path, monkeypatch):
    monkeypatch.setattr(convert_module, "_run_in_worker", kill_self)
    with pytest.raises(DatasetError, match="was killed.*--workers 1"):
        convert(conversion(bags, tmp_path / "set", workers=2))


class Torn(Recorded):
    """A message whose bytes end early, as behind a flipped bit in the length of a row."""

    @property
    def data(self) -> bytes:
        return super().data[:60]


def test_image_messages_that_cannot_be_decoded_are_left_out(tmp_path, make_scene, own_writer):
    messages = make_scene().messages()
    torn = [number for number, one in enumerate(messages) if "wrist/image" in one.topic][30:33]
    for number in torn:
        one = messages[number]
        messages[number] = Torn(one.topic, one.type, one.log_ns, one.message)
    own_writer(tmp_path / "bag", messages, EpisodeMetadata(task="t", success=True))
    report = convert(conversion(tmp_path / "bag", tmp_path / "set"))
    (outcome,) = report.outcomes
    assert not report.failed
    assert outcome.kept == 19
    assert any("damaged images left out" in note for note in outcome.notes)


def test_many_damaged_images_are_found_in_few_passes(
    tmp_path, make_scene, own_writer, spoil_images, monkeypatch
):
    messages = spoil_images(make_scene(compressed="jpg").messages(), "wrist", range(5, 50, 3))
    messages = spoil_images(messages, "third_person", range(20, 30))
    own_writer(tmp_path / "bag", messages, EpisodeMetadata(task="t", success=True))
    passes = []

    def counted(*arguments: object) -> object:
        passes.append(arguments)
        return read_episodes(*arguments)

    monkeypatch.setattr(convert_job, "read_episodes", counted)
    report = convert(conversion(tmp_path / "bag", tmp_path / "set"))
    (outcome,) = report.outcomes
    assert outcome.kept
    # The nearest image of each tick, then the next nearest; once more where two cameras have damage.
    assert len(passes) <= 6


def test_nothing_is_written_over(bags, converted, tmp_path):
    with pytest.raises(DatasetError, match="a dataset is there already"):
        convert(conversion(bags, converted[ImageStorage.VIDEO]))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(DatasetError, match="no dataset"):
        convert(conversion(bags, tmp_path / "mine", overwrite=True))
    with pytest.raises(DataError, match="no such file"):
        find_sources([tmp_path / "nowhere"])
    with pytest.raises(DataError, match="neither a bag nor a dataset"):
        find_sources([tmp_path / "mine"])


def test_when_nothing_is_left_the_reasons_are_told(bags, tmp_path):
    with pytest.raises(DatasetError, match="(?s)no episode is left.*the episode failed"):
        convert(conversion(bags / "c_failed", tmp_path / "set"))


def test_images_of_two_sizes_are_refused_by_name(bags, tmp_path, make_scene, own_writer):
    shutil.copytree(bags / "a_raw", tmp_path / "bags" / "a_raw")
    large = make_scene(size=(48, 64)).messages()
    own_writer(tmp_path / "bags" / "b_large", large, EpisodeMetadata(task="t", success=True))
    with pytest.raises(DatasetError, match="64 x 48 pixels in b_large"):
        convert(conversion(tmp_path / "bags", tmp_path / "set"))


def test_odd_images_cannot_be_video_but_can_be_kept(tmp_path, make_scene, own_writer):
    own_writer(
        tmp_path / "bag", make_scene(size=(23, 31)).messages(), EpisodeMetadata(task="t", success=True)
    )
    with pytest.raises(DatasetError, match="--images exact"):
        convert(conversion(tmp_path / "bag", tmp_path / "set"))
    shutil.rmtree(tmp_path / "set")
    done = convert(conversion(tmp_path / "bag", tmp_path / "set", images=ImageRules(ImageStorage.EXACT)))
    assert done.episodes == 1


@pytest.mark.parametrize("version", ["v3_video", "v21_image", "v21_video"])
def test_sets_of_others_are_converted(tmp_path, version):
    source = Path(__file__).parent / "fixtures" / f"lerobot_{version}"
    (found,) = find_sources([source])
    assert found.kind is SourceKind.LEROBOT
    exact = ImageRules(ImageStorage.EXACT)
    report = convert(conversion(source, tmp_path / "set", images=exact))
    assert (report.episodes, report.frames) == (2, 19)
    theirs, ours = Dataset(source), Dataset(tmp_path / "set")
    for before, after in zip(theirs.episodes, ours.episodes, strict=True):
        assert before.instruction == after.instruction
        old, new = theirs.columns(before), ours.columns(after)
        assert np.allclose(old["action"], new["action"], atol=1e-6)
        assert np.allclose(old["observation.state"], new["observation.state"], atol=1e-6)
        for camera in ("third_person", "wrist"):
            pairs = zip(theirs.images(before, camera), ours.images(after, camera), strict=True)
            assert all(np.array_equal(a.decode(), b.decode()) for a, b in pairs)


def test_a_set_of_another_rate_is_refused(tmp_path):
    source = Path(__file__).parent / "fixtures" / "lerobot_v3_video"
    robot = tmp_path / "robot.yaml"
    robot.write_text(ROBOT.read_text().replace("rate: 5.0", "rate: 10.0"))
    with pytest.raises(DatasetError, match="recorded at 5 Hz, but parameter 'action.rate' is 10 Hz"):
        convert(Conversion(find_sources([source]), robot, tmp_path / "set", workers=1))


def test_conversion_is_much_faster_than_recording(bags, tmp_path):
    began = time.process_time()
    report = convert(conversion(bags, tmp_path / "set"))
    spent = time.process_time() - began
    # 8.6 s of recording with small images; the real figure is measured by benchmarks/conversion.py.
    assert report.frames * report.period_s > spent
