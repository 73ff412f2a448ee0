"""Check the rules of the source tree that the linters do not know; print what breaks them and exit 1.

- A tracked file is at most 8 MB.
- No text names a folder of a developer's machine.
- Imports between the packages go one way, and what a package imports is declared in its setup.cfg.
- Modules of ours that are imported exist.
- No modules import one another in a circle.
- A file in a folder `ros` imports ROS (that no other does is ruff's rule).
- The tests of a room lie in a folder of its name.
- What is defined in a package is used in one, or by a command, an example or a tool; tests alone are not enough.
- A docstring of a function says what it does ("Write ...") or what it returns ("Distance of ..."), not "Returns ...".
"""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from house import circles, module_arrows, modules

MAX_BYTES = 8 * 1024 * 1024
MACHINE_PATH = re.compile(rb"(?<![\w.$}/-])/(?:work|farm|home|Users|root)/(?!<)[\w.]")
ALLOWED_PACKAGES = {
    "udg_description": set[str](),
    "udg_sim": {"udg_description"},
    "udg_perception": {"udg_description"},
    "udg_control": {"udg_description"},
    "udg_policy": {"udg_description"},
    "udg_datagen": {"udg_description", "udg_sim", "udg_perception", "udg_control", "udg_policy"},
    "udg_bringup": {"udg_description", "udg_sim", "udg_perception", "udg_control", "udg_policy", "udg_datagen"},
}
ROS_MODULE = re.compile(r"(rclpy|launch|launch_ros|ament_\w+|\w+_(msgs|interfaces|srvs)|tf2_\w+|udg_\w+\.ros)(\.|$)")
WORD = re.compile(r"\w+")
DOTTED = re.compile(r"[\w.:]+")
THIRD_PERSON = frozenset(
    """return returns adds advances appends applies asks begins brings builds casts checks chooses closes
    computes creates draws drops ends executes fetches finds gets gives goes judges keeps lets lists loads
    looks makes minimises moves opens plays prepares prints pushes puts raises reads removes replaces runs
    saves sends sets shows solves starts stops takes teleports tells tries turns updates waits writes yields""".split()
)
"""First words that a function's docstring doesn't have."""
UNUSED = {  # why a name is there that nothing but tests calls
    "checkMotion": "OMPL calls it",
    "on_configure": "rclpy's lifecycle calls it",
    "on_cleanup": "rclpy's lifecycle calls it",
    "on_shutdown": "rclpy's lifecycle calls it",
    "on_error": "rclpy's lifecycle calls it",
    "request_share_url": "viser's server would open a tunnel",
    "EchoDevice": "the template of a device, whose process is a module",
    "made_grasps": "the tests of two packages grasp with it",
    "wait_until": "the tests of all packages wait with it",
    "apply_joint_axis_torque": "the load under which tests measure the drives",
    "act_batch": "the tests of two rooms act on many scenes at once",
    "add_figures": "kept for figures that are measured after training",
    "proprioception_width": "what network_inputs returns is described with it",
}
DISTRIBUTION_OF = {  # where import and PyPI differ
    "PIL": "pillow",
    "yaml": "pyyaml",
    "cv2": "opencv-python",
    "rtde_control": "ur-rtde",
}


def tracked_files(root: Path) -> list[Path]:
    """The files of the working tree that git knows."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True).stdout
    files = [root / name for name in listed.decode().split("\0") if name]
    return [path for path in files if path.is_file() and not path.is_symlink()]


def size_problems(root: Path, files: list[Path]) -> Iterator[str]:
    """Yield the files above the size limit."""
    for path in files:
        if path.stat().st_size > MAX_BYTES:
            megabytes = path.stat().st_size / 2**20
            yield f"{path.relative_to(root)}: {megabytes:.1f} MB; valid: at most {MAX_BYTES / 2**20:.1f} MB"


def machine_path_problems(root: Path, files: list[Path]) -> Iterator[str]:
    """Yield the text lines that name a folder of a developer's machine."""
    for path in files:
        data = path.read_bytes()
        if b"\0" in data[:8192]:
            continue
        for number, line in enumerate(data.split(b"\n"), start=1):
            found = MACHINE_PATH.search(line)
            if found:
                yield f"{path.relative_to(root)}:{number}: names a folder of one machine: {found.group().decode()}..."


def imported_modules(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and top-level name of each absolute import in `source`, also those inside functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module.split(".")[0]


def declared_distributions(setup_cfg: Path) -> set[str]:
    """The normalised names in `install_requires` and in all extras of one package."""
    config = configparser.ConfigParser()
    config.read(setup_cfg, encoding="utf-8")
    lines = config["options"].get("install_requires", "").split("\n")
    if config.has_section("options.extras_require"):
        lines += [line for value in config["options.extras_require"].values() for line in value.split("\n")]
    names = (re.match(r"[\w.-]+", line.strip()) for line in lines)
    return {name.group().lower().replace("_", "-") for name in names if name}


def import_problems(root: Path, files: list[Path]) -> Iterator[str]:
    """Yield imports against the one-way rule and third-party imports that the package does not declare."""
    for package, allowed in ALLOWED_PACKAGES.items():
        folder = root / "src" / package / package
        declared = declared_distributions(root / "src" / package / "setup.cfg")
        for path in files:
            if path.suffix != ".py" or folder not in path.parents:
                continue
            for line, module in imported_modules(path.read_text(encoding="utf-8")):
                where = f"{path.relative_to(root)}:{line}"
                if module == package or module in sys.stdlib_module_names:
                    continue
                if module in ALLOWED_PACKAGES and module not in allowed:
                    yield f"{where}: {package} must not import {module}; valid: {', '.join(sorted(allowed)) or 'none'}"
                elif folder / "ros" in path.parents and module not in ALLOWED_PACKAGES:
                    continue  # ROS comes from package.xml
                elif DISTRIBUTION_OF.get(module, module).lower().replace("_", "-") not in declared:
                    yield f"{where}: {module} is not in install_requires of src/{package}/setup.cfg"


def unknown_problems(root: Path, files: list[Path]) -> Iterator[str]:
    """Yield imports of modules of ours that there are not: mypy takes what it does not find as untyped."""
    sources = {".".join(path.relative_to(root).with_suffix("").parts[2:]): path for path in files if _ours(root, path)}
    faces = {name.removesuffix(".__init__"): path for name, path in sources.items() if name.endswith(".__init__")}
    known = {*sources, *faces, *(name.rpartition(".")[0] for name in sources)}
    for path in files:
        if path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
                if node.module in faces:  # a module below it, or a name that it passes on
                    face = faces[node.module].read_text(encoding="utf-8")
                    below = (alias.name for alias in node.names if not re.search(rf"\b{alias.name}\b", face))
                    names += [f"{node.module}.{name}" for name in below]
            for name in names:
                if name.split(".")[0] in ALLOWED_PACKAGES and "." in name and name not in known:
                    yield f"{path.relative_to(root)}:{node.lineno}: imports {name}, which there is not"


def _ours(root: Path, path: Path) -> bool:
    parts = path.relative_to(root).parts
    return path.suffix == ".py" and len(parts) > 3 and parts[0] == "src" and parts[1] == parts[2]


def circle_problems(root: Path) -> Iterator[str]:
    """Yield the circles of imports."""
    for circle in circles(module_arrows(modules(root))):
        yield f"{', '.join(circle)}: import one another; valid: imports that go one way"


def ros_problems(root: Path) -> Iterator[str]:
    """Yield the modules in a folder `ros` that need no ROS."""
    for name, path in modules(root).items():
        if ".ros." not in name:
            continue
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        imported = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        imported += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
        if not any(ROS_MODULE.match(module) for module in imported):
            yield f"{path.relative_to(root)}: imports no ROS; valid: a file beside or in another room"


def test_problems(root: Path, files: list[Path]) -> Iterator[str]:
    """Yield the tests that do not lie where what they test lies."""
    known = modules(root)
    for path in files:
        parts = path.relative_to(root).parts
        if len(parts) < 4 or parts[0] != "src" or parts[2] != "test" or not re.fullmatch(r"test_\w+\.py", path.name):
            continue
        package, room = parts[1], ".".join(parts[3:-1])
        if room and not (root / "src" / package / package / Path(*parts[3:-1])).is_dir():
            yield f"{path.relative_to(root)}: {package} has no room {room}; valid: test/<room>/, as in the package"
        homes = {
            ".".join(name.split(".")[1:-1])
            for name in known
            if name.split(".")[0] == package and name.split(".")[-1].rstrip("_") == path.stem.removeprefix("test_")
        }
        if homes and room not in homes:
            yield f"{path.relative_to(root)}: tests a module of {' or '.join(sorted(homes)) or 'no room'}; valid: there"
        first = path.stem.split("_")[1]
        if not homes and not room and first == package.removeprefix("udg_"):
            yield f"{path.relative_to(root)}: named by the package; valid: test_<module>.py"
        elif not homes and not room and (root / "src" / package / package / first).is_dir():
            yield f"{path.relative_to(root)}: named by the room {first}; valid: test/{first}/test_<module>.py"


def unused_problems(root: Path, files: list[Path]) -> Iterator[str]:
    """Yield the functions, methods, classes and constants of the packages whose name nothing but tests uses.

    A string "a.b:c" uses a, b and c, since registries and processes are told of functions by name.
    """
    sources = {path: path.read_text(encoding="utf-8") for path in files if path.suffix in (".py", ".cfg")}
    trees = {
        path: ast.parse(source)
        for path, source in sources.items()
        if path.suffix == ".py" and "test" not in path.relative_to(root).parts
    }
    used = {word for path, source in sources.items() if path.name == "setup.cfg" for word in WORD.findall(source)}
    for tree in trees.values():
        used |= _used_names(tree)
    for path, tree in trees.items():
        if not _ours(root, path):
            continue
        for line, name in _defined_names(tree):
            if name not in used and name not in UNUSED and not name.startswith("__"):
                valid = f"valid: a caller, or why not in {Path(__file__).name}"
                yield f"{path.relative_to(root)}:{line}: nothing but tests uses {name}; {valid}"


def _defined_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of each function, method and class, and of what is assigned at the top of the module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    yield node.lineno, node.id


def _used_names(tree: ast.Module) -> set[str]:
    """The names that the code reads or passes, attributes that it sets too, and those in strings such as "a.b:c"."""
    names = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and DOTTED.fullmatch(node.value):
            names.update(WORD.findall(node.value))
    return names


def docstring_problems(root: Path, files: list[Path]) -> Iterator[str]:
    """Yield the functions whose docstring begins with a verb in the third person, or with "Return"."""
    for path in files:
        if path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = (ast.get_docstring(node) or "").split(" ")[0]
                if first.lower() in THIRD_PERSON:
                    valid = 'valid: "Write ...", or what is returned: "Distance of ..."'
                    yield f"{path.relative_to(root)}:{node.lineno}: the docstring begins with {first!r}; {valid}"


def problems(root: Path) -> list[str]:
    """All broken rules of the tree below `root`, one line each."""
    files = tracked_files(root)
    return [
        *size_problems(root, files),
        *machine_path_problems(root, files),
        *import_problems(root, files),
        *unknown_problems(root, files),
        *circle_problems(root),
        *ros_problems(root),
        *test_problems(root, files),
        *unused_problems(root, files),
        *docstring_problems(root, files),
    ]


def main() -> int:
    """Check the tree that this file belongs to."""
    found = problems(Path(__file__).resolve().parent.parent)
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
