from pathlib import Path

from anicca.debian.archive import parse_targets, reachable

SIGNED = """\
http://apt.example.org/pgdg trixie-pgdg PostgreSQL apt.postgresql.org
http://mirror.example.org/debian trixie Debian Debian
http://mirror.example.org/debian trixie Debian Debian
http://mirror.example.org/debian-security trixie-security Debian Debian-Security
http://other.example.org/ubuntu noble Ubuntu Ubuntu
"""


def test_indexes_that_were_fetched_say_whose_they_are() -> None:
    assert parse_targets(SIGNED) == [
        ("debian", "http://mirror.example.org/debian"),
        ("debian-security", "http://mirror.example.org/debian-security"),
    ]


def test_without_indexes_the_suites_name_decides() -> None:
    lines = ["http://a.example.org/x trixie-pgdg", "http://b.example.org/debian stable"]
    assert parse_targets("\n".join([*lines, "http://b.example.org/s stable-security"])) == [
        ("debian", "http://b.example.org/debian"),
        ("debian-security", "http://b.example.org/s"),
    ]


def test_lines_that_say_too_little_are_passed_over() -> None:
    assert parse_targets("\nhttp://a.example.org/x\n") == []


def test_plain_addresses_are_reachable_and_others_are_not() -> None:
    assert reachable("https://a.example.org/debian") == "https://a.example.org/debian"
    assert reachable("cdrom:[Debian]/") is None
    assert reachable("tor+http://a.example.org/debian") is None


def test_a_list_of_mirrors_gives_its_first(tmp_path: Path) -> None:
    listed = tmp_path / "debian.list"
    listed.write_text("# mirrors\n\nhttps://first.example.org/debian priority:1\nhttps://second.example.org/debian\n")
    assert reachable(f"mirror+file:{listed}") == "https://first.example.org/debian"
    assert reachable(f"mirror+file:{tmp_path}/missing") is None
