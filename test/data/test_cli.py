"""Tests for the commands on recordings."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from dream_vla_ros.data import cli_convert, cli_inspect, cli_recover
from dream_vla_ros.data.cli_common import clock_offsets, pair, topic_names
from dream_vla_ros.data.dataset_read import Dataset

FIXTURE = Path(__file__).parent / "fixtures" / "lerobot_v3_video"


def call(module, *arguments: object) -> int:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return module.run(parser.parse_args([str(one) for one in arguments]))


def test_record_convert_inspect(tmp_path, healthy_own, robot_file, capsys):
    out = tmp_path / "set"
    done = call(
        cli_convert, healthy_own, "--robot", robot_file, "--out", out, "--workers", 1, "--idle", "none"
    )
    printed = capsys.readouterr()
    assert done == 0
    assert "1 episodes, 19 of 20 frames kept (3.8 s)" in printed.out
    assert "1 of 1 sources" in printed.err
    dataset = Dataset(out)
    assert dataset.episodes[0].instruction == "stack"
    assert json.loads((out / "dataset_statistics.json").read_text())["tabletop"]["num_transitions"] == 19
    assert call(cli_inspect, out, "--out", tmp_path / "pictures") == 0
    printed = capsys.readouterr()
    assert "looked at 1 episodes, 19 frames" in printed.out
    assert (tmp_path / "pictures" / "contact_sheet.png").exists()
    assert call(cli_convert, healthy_own, "--robot", robot_file, "--out", out, "--workers", 1) == 1
    assert "already" in capsys.readouterr().err


def test_every_option_reaches_its_place(tmp_path, healthy_own, robot_file):
    parser = argparse.ArgumentParser()
    cli_convert.add_arguments(parser)
    urdf = tmp_path / "arm.urdf"
    urdf.write_text("<robot/>")
    options = (
        f"{healthy_own} --robot {robot_file} --out {tmp_path / 'set'} --task lift --actions commanded "
        f"--include-failed --min-frames 3 --idle all --idle-speed 0.01 --idle-turn-rate 0.02 --keep-after 4 "
        f"--urdf {urdf} --images exact --image-size 112 --codec av1 --video-quality 25 --namespace arm "
        "--remap ee_pose:=/pose --clock-offset /wrist=-0.25 --camera wrist:=hand --state-key s "
        "--action-key a --statistics-key mine --workers 3 --overwrite"
    )
    made = cli_convert._conversion(parser.parse_args(options.split()))
    rules, images = made.rules, made.images
    assert (rules.task, rules.actions.value, rules.include_failed, rules.min_frames) == (
        "lift",
        "commanded",
        True,
        3,
    )
    assert (rules.idle.trim.value, rules.idle.speed, rules.idle.turn_rate) == ("all", 0.01, 0.02)
    assert (rules.idle.keep_after, rules.urdf) == (4, "<robot/>")
    assert (rules.names.namespace, dict(rules.names.remap)) == ("arm", {"ee_pose": "/pose"})
    assert dict(rules.clock_offsets_s) == {"/wrist": -0.25}
    assert (images.storage.value, images.size) == ("exact", 112)
    assert (images.video.codec.value, images.video.quality) == ("av1", 25)
    assert (made.names.cameras, made.names.state, made.names.action) == ((("wrist", "hand"),), "s", "a")
    assert (made.key, made.workers, made.overwrite) == ("mine", 3, True)


def test_by_default_a_chunk_of_standing_still_is_kept(tmp_path, healthy_own, robot_file):
    parser = argparse.ArgumentParser()
    cli_convert.add_arguments(parser)
    given = [str(healthy_own), "--robot", str(robot_file), "--out", str(tmp_path / "set")]
    assert cli_convert._conversion(parser.parse_args(given)).rules.idle.keep_after == 8


def test_sets_of_others_can_be_inspected(tmp_path, capsys):
    assert call(cli_inspect, FIXTURE, "--out", tmp_path / "pictures") == 0
    printed = capsys.readouterr().out
    assert "looked at 2 episodes, 19 frames" in printed
    assert "action 'dy' is 0 in every frame" in printed


def test_recover_tells_what_was_kept_and_lost(tmp_path, healthy_own, capsys):
    cut = tmp_path / "cut.mcap"
    whole = next(healthy_own.glob("*.mcap")).read_bytes()
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    assert call(cli_recover, cut) == 0
    printed = capsys.readouterr().out
    assert "damage: cut.mcap at byte" in printed
    assert "kept: /ee_pose: 1" in printed
    assert (tmp_path / "cut_recovered" / "metadata.yaml").exists()
    assert call(cli_recover, cut) == 1
    assert "cut_recovered" in capsys.readouterr().err
    assert call(cli_recover, tmp_path / "nothing") == 1


@pytest.mark.parametrize(
    "wrong", ["--remap ee_pose", "--remap :=/pose", "--clock-offset /wrist", "--clock-offset /wrist=late"]
)
def test_malformed_options_are_named(wrong, healthy_own, robot_file, tmp_path, capsys):
    out = ["--robot", robot_file, "--out", tmp_path / "set"]
    assert call(cli_convert, healthy_own, *out, *wrong.split()) == 1
    assert wrong.split()[0] in capsys.readouterr().err


def test_pairs():
    assert pair("a:=b:=c", ":=", "--remap") == ("a", "b:=c")
    empty = argparse.Namespace(namespace="", remap=[], clock_offset=[])
    assert topic_names(empty).remap == {}
    assert clock_offsets(empty) == {}


def test_a_robot_file_that_is_missing_is_named(tmp_path, healthy_own, capsys):
    arguments = [healthy_own, "--robot", tmp_path / "no.yaml", "--out", tmp_path / "set"]
    assert call(cli_convert, *arguments) == 1
    assert "no.yaml: no such parameter file" in capsys.readouterr().err
