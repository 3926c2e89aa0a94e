"""Two clients that push one tag at once, in an order that the test chooses: the last one has it, and both are whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tinyreg import Registry

from . import payload
from .ask import assert_serves
from .clients import Client

IMAGES = {
    "crane": payload.image({"who": b"crane\n"}),
    "skopeo": payload.image({"who": b"skopeo\n"}),
    "oras": payload.image({"who": b"oras\n"}),
}
Push = Callable[[str], "Future[bytes]"]


@pytest.fixture
def push(served: Registry, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Push]:
    """Starts a client's push of its own image to `team/app:latest`."""
    to = served.ref("team/app:latest")
    layouts = {name: payload.write_layout(tmp_path / name, {"1": image}) for name, image in IMAGES.items()}
    commands: dict[str, tuple[str | Path, ...]] = {
        "crane": ("push", layouts["crane"], to),
        "skopeo": ("copy", "--dest-tls-verify=false", f"oci:{layouts['skopeo']}:1", f"docker://{to}"),
        "oras": ("cp", "--from-oci-layout", "--to-plain-http", f"{layouts['oras']}:1", to),
    }
    clients: dict[str, Client] = {name: request.getfixturevalue(name) for name in commands}
    with ThreadPoolExecutor() as pool:
        yield lambda name: pool.submit(clients[name], *commands[name])
        served.faults.clear()  # where the test failed, nobody waits for ever


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["first come, first done", "first come, last done"])
@pytest.mark.parametrize(
    "names", [("crane", "skopeo"), ("skopeo", "oras"), ("oras", "crane")], ids=lambda names: "-".join(names)
)
def test_the_push_that_is_let_go_last_has_the_tag(
    served: Registry, push: Push, names: tuple[str, str], order: tuple[int, int]
) -> None:
    holds = [served.faults.add(hold=True, kind="manifest", method="PUT", reference="latest", times=1) for _ in names]
    pushes = []
    for name, hold in zip(names, holds, strict=True):
        pushes.append(push(name))
        hold.wait(timeout=20)
    assert "team/app" not in served.repositories() or served.repository("team/app").tags() == []
    for which in order:
        holds[which].release()
        pushes[which].result(timeout=20)
        assert_serves(served, "team/app", "latest", IMAGES[names[which]])
    puts = served.requests.where(method="PUT", kind="manifest", reference="latest")
    assert [each.fault for each in puts] == [holds[which] for which in order]
    for name in names:
        assert_serves(served, "team/app", IMAGES[name].digest, IMAGES[name])


@pytest.mark.parametrize("order", [("crane", "skopeo"), ("skopeo", "crane")], ids=lambda order: "-".join(order))
def test_without_a_hold_the_push_that_is_begun_last_has_the_tag(
    served: Registry, push: Push, order: tuple[str, str]
) -> None:
    for name in order:
        push(name).result(timeout=20)
    assert_serves(served, "team/app", "latest", IMAGES[order[-1]])


def test_a_pull_that_is_overtaken_by_a_push_has_the_image_it_began_with(
    served: Registry, push: Push, crane: Client, tmp_path: Path
) -> None:
    push("skopeo").result(timeout=20)
    hold = served.faults.add(hold=True, kind="blob", method="GET")
    with ThreadPoolExecutor() as pool:
        pull = pool.submit(crane, "pull", "--format", "oci", served.ref("team/app:latest"), tmp_path / "out")
        hold.wait(timeout=20)
        push("crane").result(timeout=20)
        hold.release()
        pull.result(timeout=20)
    assert payload.read_layout(tmp_path / "out") == IMAGES["skopeo"].files()
    assert_serves(served, "team/app", "latest", IMAGES["crane"])
