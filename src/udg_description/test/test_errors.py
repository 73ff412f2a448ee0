import pytest

from udg_description.errors import CameraError, UdgError, cli


def test_a_users_mistake_is_one_line_and_exit_code_two(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise CameraError("camera 'left' is silent")

    with pytest.raises(SystemExit) as caught:
        cli(main)
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: camera 'left' is silent\n"


def test_a_programming_error_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        cli(lambda: 1 // 0)


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (3, 3)])
def test_the_commands_own_code_is_kept(returned: int | None, code: int) -> None:
    with pytest.raises(SystemExit) as caught:
        cli(lambda: returned)
    assert caught.value.code == code


def test_every_error_of_the_description_is_a_udg_error() -> None:
    from udg_description import errors

    leaves = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert len(leaves) >= 4 and all(issubclass(leaf, UdgError) for leaf in leaves)
