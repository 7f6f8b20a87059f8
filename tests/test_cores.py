"""support/cores.py: a command does not use the cores that other processes keep busy."""

import json
import os

import pytest
import torch

from sgpo_mini.commands.options import set_threads
from sgpo_mini.support import cores


@pytest.fixture
def machine(monkeypatch):
    """A machine with four cores; `machine(2)` says that two of them are busy from now on."""
    ticks = {core: [0, 0] for core in range(4)}

    def say(busy):
        def read():
            for core, told in ticks.items():
                told[0] += 0 if core < busy else 30
                told[1] += 30
            return {core: tuple(told) for core, told in ticks.items()}

        monkeypatch.setattr(cores, "_times", read)

    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(cores.time, "sleep", lambda seconds: None)
    return say


@pytest.mark.parametrize(("busy", "threads"), [(0, 4), (1, 3), (3, 1), (4, 1)])
def test_busy_cores_are_left_alone(machine, busy, threads):
    machine(busy)
    assert cores.idle_threads() == threads


def test_where_the_system_does_not_tell_torch_chooses(machine, monkeypatch, tmp_path):
    monkeypatch.setattr(cores, "_times", lambda: {})
    assert cores.idle_threads() == 4


def test_the_cores_of_this_machine_can_be_read_or_are_left_to_torch(monkeypatch, tmp_path):
    stat = tmp_path / "stat"
    lines = "cpu  9 9 9 9 9 9 9 9", "cpu0 1 0 1 70 30 0 0 0 5 5", "cpu9 1 1 1 1 1 1 1 1", "intr 1"
    stat.write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setattr(cores, "_STAT", stat)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert cores._times() == {0: (100, 102)}
    monkeypatch.setattr(cores, "_STAT", tmp_path / "missing")
    assert cores._times() == {}


def test_a_command_says_that_it_leaves_busy_cores_alone(machine, monkeypatch, capsys):
    chosen = []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    machine(0)
    set_threads(0)
    assert chosen == [] and capsys.readouterr().err == ""
    machine(3)
    set_threads(0)
    assert chosen == [1]
    assert "1 of 4 CPU threads" in capsys.readouterr().err
    set_threads(2)
    assert chosen == [1, 2]


def test_a_resumed_run_keeps_its_number_of_threads(machine, monkeypatch, tmp_path):
    chosen = []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    (tmp_path / "config.json").write_text(json.dumps({"threads": 3}), encoding="utf-8")
    machine(4)
    set_threads(0, resumed=str(tmp_path))
    assert chosen == [3]
