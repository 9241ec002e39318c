"""The commands that README and docs show: each has settings with a meaning, and forty videos become boxes."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
# What keeps a documented stage quick; given last, it wins over what the page says.
QUICK = {
    "locate": "--workers 0 --build 'image-size=64 scales=1' "
    "--train 'image-size=64 steps=1 epochs=1 crf=false' "
    "--classifier 'arch=squeezenet1_1 weights=none image-size=64'",
    "classifier": "--weights none --epochs 1 --image-size 64 --workers 0",
    "build": "--image-size 64 --workers 0",
    "train": "--epochs 1 --validate-every 1 --image-size 64 --decoder-width 0.125 --landmarks 16 --workers 0",
    "evaluate": "--workers 0 --overlays 1",
    "predict": "--workers 0",
}

pytestmark = pytest.mark.skipif(not README.is_file(), reason="no checkout around these tests")


def documented_commands(text):
    """Return the arguments of every `tcam-cache ...` in the shell blocks of a page."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    calls = [call for line in lines for call in re.findall(r"\btcam-cache (?!\[)([^;]*)", line)]
    return [shlex.split(call, comments=True) for call in calls]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_has_settings_with_a_meaning(
    config_of, page, small_run, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").symlink_to(small_run)
    for words in documented_commands(page.read_text()):
        assert config_of(*words)


# What a table's row leaves out of its command.
LEAST = {
    "train": ["m", "--cache", "cache", "--out", "run"],
    "search": ["m", "--cache", "cache", "--out", "search"],
    "classifier": ["m", "--out", "g.pt"],
    "build": ["m", "--classifier", "g.pt", "--out", "cache"],
}


@pytest.mark.parametrize("name", ["README.md", "docs/reproduce.md", "docs/real_video.md"])
def test_the_command_of_every_row_of_a_table_has_settings_with_a_meaning(config_of, tcam, name):
    text = (ROOT / name).read_text()
    rows = [
        shlex.split(code)
        for code in re.findall(r"^\|(?! `[a-z]).*?`((?:train |search )?--[^`]+ [^`]+)`", text, re.MULTILINE)
    ]
    assert len(rows) >= 6
    for words in rows:
        stages = [words.pop(0)] if words[0] in LEAST else [name for name in LEAST if takes(name, words)]
        assert stages, words
        assert config_of(stages[0], *LEAST[stages[0]], *words)


def takes(name, words):
    """Return whether a command has all of these options."""
    known = importlib.import_module(f"tcam_cache_cli.{name}").command.params
    flags = {flag for param in known for flag in (*param.opts, *param.secondary_opts)}
    return {word for word in words if word.startswith("--")} <= flags


def test_commands_are_found_behind_other_programs_in_loops_and_over_several_lines():
    text = """```sh
pip install "tcam-cache[s3]" && tcam-cache demo demo
for video in *.mp4; do tcam-cache predict run "$video" --out boxes; done
torchrun --nproc-per-node=2 tcam-cache train m.jsonl \\
    --out run   # as below
```"""
    assert documented_commands(text) == [
        ["demo", "demo"],
        ["predict", "run", "$video", "--out", "boxes"],
        ["train", "m.jsonl", "--out", "run"],
    ]


def test_forty_tagged_videos_become_boxes_as_the_readme_says(tcam, small_data, tmp_path, monkeypatch):
    pytest.importorskip("av")
    monkeypatch.chdir(tmp_path)
    for video in ("bird/0001", "bird/0002", "bird/0003", "car/0001", "car/0002", "car/0003"):
        write_video(tmp_path / "videos" / f"{video}.mp4", sorted((small_data / video).rglob("*.jpg")))
    section = README.read_text().split("<!-- forty videos -->", 1)[1].split("```sh\n", 1)[1].split("```")[0]
    calls = documented_commands(f"```sh\n{section}```")
    assert [words[0] for words in calls] == ["locate"]
    result = tcam(*calls[0], *shlex.split(QUICK["locate"]))
    assert result.exit_code == 0, result.output
    header, *rows = (tmp_path / "found/boxes/boxes.csv").read_text().splitlines()
    assert header in README.read_text()
    assert len(rows) == 28
    assert len(list((tmp_path / "found/boxes/car/0003.mp4.boxes/overlays").iterdir())) == 4
    assert (tmp_path / "found/boxes/report/index.html").is_file()


def test_real_video_is_measured_with_the_commands_of_its_page(tcam, small_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "davis").symlink_to(small_data)
    calls = documented_commands((ROOT / "docs/real_video.md").read_text())
    assert [words[0] for words in calls] == [
        "manifest",
        "classifier",
        "build",
        "evaluate",
        "train",
        "evaluate",
    ]
    for words in calls:
        result = tcam(*words, *QUICK.get(words[0], "").split())
        assert result.exit_code == 0, result.output
    assert (tmp_path / "report/index.html").is_file() and (tmp_path / "report_layercam/index.html").is_file()


def test_the_commands_on_a_cache_do_what_its_page_says(tcam, small_cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cache").symlink_to(small_cache)
    calls = documented_commands((ROOT / "docs/cache.md").read_text())
    here = [words for words in calls if words[0] in ("inspect", "verify", "export")]
    assert len(here) == 8
    for words in here:
        result = tcam(*words)
        assert result.exit_code == 0, result.output
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {"cache", "classes.png", "shot.gif", "cache.h5", "cache2", "shot.npz"}


def write_video(path, images):
    import av
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_image(Image.open(image))))
        container.mux(stream.encode())
