"""Command: a child held before its exec, measured from its first instruction."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from support import perf_descriptors, privileged, run_python, total

import kperf
from kperf import Command, Error

WRITES = "syscalls:sys_enter_write"
HUNDRED_WRITES = (
    "import os; out = os.open('/dev/null', 1); [os.write(out, b'x') for _ in range(100)]"
)


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def exit_status(command: Command) -> int:
    _, status = os.waitpid(command.pid, 0)
    return os.waitstatus_to_exitcode(status)


def write_script(path: Path, text: str, mode: int = 0o755) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


# ---- holding and starting ----


@privileged
def test_it_is_counted_from_its_first_instruction_to_its_last() -> None:
    with (
        Command([sys.executable, "-I", "-S", "-c", HUNDRED_WRITES]) as command,
        kperf.Counting(WRITES, command=command, enable_on_exec=True) as counting,
    ):
        command.start()
        assert exit_status(command) == 0
        assert total(counting.read()) == 100


@privileged
def test_children_of_a_command_count_for_it() -> None:
    forking = f"import os\nfor _ in range(3):\n  if os.fork() == 0: break\n{HUNDRED_WRITES}"
    waiting = "\ntry:\n  while True: os.wait()\nexcept ChildProcessError: pass"
    with (
        Command([sys.executable, "-I", "-S", "-c", forking + waiting]) as command,
        kperf.Counting(WRITES, command=command, enable_on_exec=True) as counting,
    ):
        command.start()
        assert exit_status(command) == 0
        assert [row.count for row in counting.read()] == [4 * 100]


def test_it_waits_until_it_is_started(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with Command(["touch", str(mark)]) as command:
        exe = os.readlink(f"/proc/{command.pid}/exe")
        assert exe == os.readlink("/proc/self/exe")  # still a copy of ours
        assert not mark.exists()
        command.start()
        assert exit_status(command) == 0
    assert mark.exists()


def test_one_that_was_never_started_leaves_no_zombie() -> None:
    with Command(["true"]) as command:
        assert is_there(command.pid)
    assert not is_there(command.pid)
    command.close()
    with pytest.raises(kperf.KperfError, match="closed"):
        command.start()


def test_several_are_held_and_closed_in_any_order() -> None:
    commands = [Command(["true"]) for _ in range(4)]
    for index in (2, 0, 3, 1):
        commands[index].close()
    assert not any(is_there(command.pid) for command in commands)


def test_one_that_was_started_is_left_alone() -> None:
    with Command(["sleep", "100"]) as command:
        command.start()
    assert is_there(command.pid)
    os.kill(command.pid, signal.SIGKILL)
    assert exit_status(command) == -signal.SIGKILL


def test_it_starts_once() -> None:
    with Command(["true"]) as command:
        command.start()
        with pytest.raises(kperf.KperfError, match="runs already") as raised:
            command.start()
        assert raised.value.code == Error.INVALID_ARGUMENT
        assert exit_status(command) == 0


def test_one_that_was_killed_while_held_can_still_be_started_and_closed() -> None:
    command = Command(["true"])
    os.kill(command.pid, signal.SIGKILL)
    assert exit_status(command) == -signal.SIGKILL
    command.start()  # no SIGPIPE for the host
    command.close()


# ---- what cannot be run ----


@pytest.mark.parametrize("name", ["no-such-command", "/no/such/command", "./no-such-command"])
def test_a_command_that_is_not_there(name: str) -> None:
    with pytest.raises(kperf.KperfError, match=r"no.such") as raised:
        Command([name])
    assert raised.value.code == Error.COMMAND_NOT_FOUND


def test_a_command_that_may_not_run(tmp_path: Path) -> None:
    plain = write_script(tmp_path / "plain", "echo\n", 0o644)
    for path, fix in ((plain, "chmod"), (str(tmp_path), "directory")):
        with pytest.raises(kperf.KperfError, match=fix) as raised:
            Command([path])
        assert raised.value.code == Error.COMMAND_NOT_EXECUTABLE


def test_a_script_whose_interpreter_is_missing(tmp_path: Path) -> None:
    script = write_script(tmp_path / "script", "#!/no/such/interpreter\n")
    with Command([script]) as command, pytest.raises(kperf.KperfError) as raised:
        command.start()
    assert raised.value.code == Error.COMMAND_NOT_FOUND
    assert "interpreter" in str(raised.value)
    assert not is_there(command.pid)


def test_a_program_for_another_machine(tmp_path: Path) -> None:
    alien = tmp_path / "alien"
    alien.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xf3\xff" + bytes(200))
    alien.chmod(0o755)
    with Command([str(alien)]) as command:
        command.start()  # as a shell does: /bin/sh has a try, and fails
        assert exit_status(command) in (2, 126, 127)


def test_a_script_without_an_interpreter_line_runs_in_the_shell(tmp_path: Path) -> None:
    script = write_script(tmp_path / "script", 'exit "$1"\n')
    with Command([script, "7"]) as command:
        command.start()
        assert exit_status(command) == 7


@pytest.mark.parametrize(
    ("argv", "said"), [([], "no command"), ([""], "no command"), (["true", "a\0b"], "NUL")]
)
def test_arguments_that_mean_nothing(argv: list[str], said: str) -> None:
    with pytest.raises(kperf.KperfError, match=said) as raised:
        Command(argv)
    assert raised.value.code == Error.INVALID_ARGUMENT


# ---- what it inherits ----


def run(source: str, *argv: str) -> str:
    """What a command prints that a program of its own launches."""
    return run_python(
        f"""
        import os, resource, signal, sys, kperf
        {source}
        with kperf.Command(sys.argv[1:]) as command:
            command.start()
            assert os.waitpid(command.pid, 0)[1] == 0
        """,
        *argv,
    ).stdout


def test_it_does_not_see_the_limit_that_a_session_raised() -> None:
    said = run_python(
        """
        import os, resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))
        import kperf
        many = kperf.Counting(["task-clock:u"] * 300, pids=[os.getpid()])
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 64
        with kperf.Command(["sh", "-c", "ulimit -Sn; ulimit -Hn"]) as command:
            command.start()
            os.waitpid(command.pid, 0)
        """
    ).stdout
    assert said.split() == ["64", "4096"]


def test_its_signals_are_as_a_shell_leaves_them() -> None:
    status = run(
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]); "
        "signal.signal(signal.SIGUSR2, lambda *_: None); "
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)",
        "cat",
        "/proc/self/status",
    )
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if line.startswith("Sig"))
    sets = {name: int(mask, 16) for name, mask in fields.items() if name != "SigQ"}

    def has(name: str, number: int) -> bool:
        return bool(sets[name] >> (number - 1) & 1)

    assert has("SigBlk", signal.SIGUSR1)  # the host's own mask is its own affair
    assert has("SigIgn", signal.SIGHUP)  # as nohup wants it
    assert not has("SigIgn", signal.SIGPIPE)  # Python ignores these two for itself
    assert not has("SigIgn", signal.SIGXFSZ)
    assert sets["SigCgt"] == 0


def test_it_gets_none_of_the_counters() -> None:
    listing = run(
        "counting = kperf.Counting(['task-clock', 'page-faults'], pids=[os.getpid()])",
        *("ls", "-l", "/proc/self/fd"),
    )
    assert "perf_event" not in listing
    assert listing.count("->") == 4  # 0, 1, 2 and the listing's own


def test_its_environment_can_be_given() -> None:
    said = run_python(
        """
        import os, kperf
        with kperf.Command(["env"], {"PATH": os.environ["PATH"], "GIVEN": "yes"}) as command:
            command.start()
            os.waitpid(command.pid, 0)
        """
    ).stdout
    assert sorted(line.partition("=")[0] for line in said.splitlines()) == ["GIVEN", "PATH"]


def test_a_forked_child_cannot_start_or_end_it() -> None:
    from support import in_fork

    with Command(["true"]) as command:

        def use() -> int:
            code = 0
            try:
                command.start()
            except kperf.KperfError as failure:
                code = failure.code
            command.close()
            return code

        assert in_fork(use) == Error.FORKED
        assert is_there(command.pid)
        command.start()
        assert exit_status(command) == 0
    assert perf_descriptors() == []
