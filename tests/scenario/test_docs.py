"""The documents say what is there: links, the map, routes, settings, deployment files."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml

import programs

ROOT = programs.REPOSITORY
# What docker-compose.yml asks for beyond the settings of the programs.
COMPOSE_VARIABLES = {"POSTGRES_PASSWORD", "RABBITMQ_PASSWORD"}


def documents():
    """Every Markdown file of the tree, build folders and fetched packages aside."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [f for f in folders if f != "node_modules" and not f.startswith(("build", ".git"))]
        yield from (pathlib.Path(folder) / name for name in names if name.endswith(".md"))


def text_of(path):
    return (ROOT / path).read_text()


def without_code(text):
    return re.sub(r"`[^`]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


def settings_of_the_program(folder):
    done = programs.run("aiplatctl", "dev", "--help-settings", folder=folder)
    assert done.returncode == 0, done.stderr
    names = re.findall(r"^  ([A-Z][A-Z0-9_]+) \(default", done.stdout, flags=re.M)
    assert len(names) > 10
    return names


@pytest.mark.parametrize("document", sorted(documents()), ids=lambda p: str(p.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(document):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(document.read_text())):
        if not re.match(r"[a-z]+:|#", target):
            assert (document.parent / target.split("#")[0]).exists(), target


def test_the_code_of_the_c_page_is_that_of_the_examples():
    examples = "\n".join(path.read_text() for path in sorted((ROOT / "examples").glob("*.c")))
    blocks = re.findall(r"^```c\n(.*?)^```", text_of("docs/c-api.md"), flags=re.M | re.S)
    assert len(blocks) >= 5
    assert [block for block in blocks if block not in examples] == []


def test_every_path_of_the_map_exists():
    text = text_of("ARCHITECTURE.md")
    the_map = re.search(r"## The map\n+```\n(.*?)^```", text, flags=re.M | re.S).group(1)
    paths = [path for line in the_map.splitlines()
             for path in re.split(r"  +", re.split(r"\s{4,}", line)[0]) if path]
    assert len(paths) > 40
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_layer_stands_in_the_map():
    text = text_of("ARCHITECTURE.md")
    for parent in ("libaiplat", "libaiplat/domain", "libaiplat/infrastructure", "bin", "tests"):
        for folder in (ROOT / parent).iterdir():
            if any(folder.glob("**/*.[ch]")) or any(folder.glob("*.py")):
                assert f"{parent}/{folder.name}" in text, f"{parent}/{folder.name}"


def test_every_file_named_in_the_life_of_a_job_exists():
    text = text_of("ARCHITECTURE.md")
    life = re.search(r"## The life of one job\n(.*?)^## ", text, flags=re.M | re.S).group(1)
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "libaiplat").rglob("*.c")}
    for name in set(re.findall(r"`([\w/]+\.c)`", life)):
        assert any(path.endswith("/" + name) for path in there), name


def test_every_function_named_in_the_life_of_a_job_exists():
    text = text_of("ARCHITECTURE.md")
    life = re.search(r"## The life of one job\n(.*?)^## ", text, flags=re.M | re.S).group(1)
    sources = "\n".join(path.read_text() for path in (ROOT / "libaiplat").rglob("*.c"))
    where = " ".join(line.split("|")[3] for line in life.splitlines() if line.count("|") == 4)
    for name in set(re.findall(r"`([a-z_]+)`", where)):
        assert re.search(rf"\b{name}\(", sources), name


def test_routes_and_openapi_are_the_same():
    source = text_of("libaiplat/interface/http/routes.c")
    routes = {(method, pattern) for method, pattern
              in re.findall(r'\{"([A-Z]+)", "([^"]+)", http_', source)}
    described = {(method.upper(), re.sub(r"\{[^}]*\}", "{}", path))
                 for path, item in yaml.safe_load(text_of("docs/openapi.yaml"))["paths"].items()
                 for method in item if method in ("get", "post", "put", "patch", "delete")}
    assert routes and routes == described


def test_every_path_of_openapi_is_in_the_guide():
    guide = text_of("docs/api.md")
    for path in yaml.safe_load(text_of("docs/openapi.yaml"))["paths"]:
        assert re.sub(r"/\{name\}$", "/", path) in guide, path


def test_every_setting_is_documented(folder):
    document = text_of("docs/settings.md")
    tables = set(re.findall(r"^\| ([A-Z][A-Z0-9_]+) \|", document, flags=re.M))
    assert tables == set(settings_of_the_program(folder))


@pytest.mark.parametrize("document", ["README.md", "deploy/.env.example",
                                      "deploy/systemd/aiplat.env.example"])
def test_only_real_settings_are_named(document, folder):
    text = text_of(document)
    real = {*settings_of_the_program(folder), "AIPLAT_URL", *COMPOSE_VARIABLES}
    if document == "README.md":
        named = set(re.findall(r"\b(AIPLAT_[A-Z0-9_]+|[A-Z]+_URL)\b", text))
    else:
        named = set(re.findall(r"^#? ?([A-Z][A-Z0-9_]*)=", text, flags=re.M))
    assert named
    assert {name for name in named if name not in real and not name.endswith("_API_KEY")} == set()


@pytest.mark.parametrize("example", ["deploy/.env.example", "deploy/systemd/aiplat.env.example"])
def test_the_programs_accept_the_example(example, folder):
    """Whole settings are checked before the database is looked for, which is refused here."""
    done = programs.run("aiplatctl", "migrate", "--env-file", str(ROOT / example), "--set",
                        "DATABASE_URL=sqlite:////nowhere/at/all.db", folder=folder)
    assert "setting" not in done.stderr, done.stderr
    assert done.returncode != 64, done.stderr


def test_the_program_of_the_readme_compiles(folder):
    code = re.search(r"^```c\n(.*?)^```", text_of("README.md"), flags=re.M | re.S).group(1)
    (folder / "ask.c").write_text(code)
    subprocess.run(["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I",
                    str(ROOT / "include"), "ask.c"], cwd=folder, check=True)


def test_compose_file_is_whole():
    compose = yaml.safe_load(text_of("deploy/docker-compose.yml"))
    services = compose["services"]
    assert set(services) == {"gateway", "worker", "postgres", "rabbitmq", "redis"}
    assert all(service.get("restart") for service in services.values())
    assert all(services[name]["healthcheck"] for name in services if name != "worker")
    assert not {"container_name", "ports"} & set(services["worker"]), "it must scale"
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_settings_are_real(folder):
    compose = yaml.safe_load(text_of("deploy/docker-compose.yml"))
    real = settings_of_the_program(folder)
    for name in ("gateway", "worker"):
        for setting in compose["services"][name]["environment"]:
            assert setting in real or setting.endswith("_API_KEY"), setting


def test_compose_file_is_accepted_by_compose():
    commands = (["docker", "compose"], ["docker-compose"])
    usable = [c for c in commands if shutil.which(c[0]) and
              subprocess.run([*c, "version"], capture_output=True, check=False).returncode == 0]
    if not usable:
        pytest.skip("neither docker compose nor docker-compose is at hand")
    subprocess.run([*usable[0], "-f", "docker-compose.yml", "config", "-q"], cwd=ROOT / "deploy",
                   check=True)


@pytest.mark.parametrize("unit", ["aiplat-gateway.service", "aiplat-worker@.service"])
def test_units_name_installed_programs(unit):
    text = text_of(f"deploy/systemd/{unit}")
    program = re.search(r"^ExecStart=/usr/local/bin/(\S+)$", text, flags=re.M).group(1)
    assert program in programs.BINARIES
    assert (ROOT / "docs/man" / f"{program}.1").exists()
    for line in text.splitlines():
        assert re.match(r"$|#|\[\w+\]$|[A-Z]\w*=", line), line
