#!/usr/bin/env python3
"""Write graph documents (NAME.json) as a C array, so that the library needs no file at run time. Called
by libaiplat/graphs/meson.build only:

    embed.py OUTPUT.c FILE.json...

A file must be a JSON object; it is compiled in without the white space between its parts.
"""
import json
import pathlib
import sys


def no_twins(pairs):
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("two members of one name among " + ", ".join(name for name, _ in pairs))
    return members


def c_strings(text):
    """C string literals; bytes beyond ASCII and question marks (trigraphs) as octal escapes."""
    data = text.encode("utf-8")
    lines = []
    for at in range(0, len(data), 64):
        line = ""
        for byte in data[at : at + 64]:
            if chr(byte) in '"\\':
                line += "\\" + chr(byte)
            elif chr(byte) == "?" or byte < 0x20 or byte > 0x7E:
                line += f"\\{byte:03o}"
            else:
                line += chr(byte)
        lines.append(f'         "{line}"')
    return "\n".join(lines), len(data)


def main(output, files):
    entries = []
    for file in sorted(map(pathlib.Path, files)):
        try:
            document = json.loads(file.read_text(encoding="utf-8"), object_pairs_hook=no_twins)
        except ValueError as error:
            sys.exit(f"{file}: {error}")
        if not isinstance(document, dict):
            sys.exit(f"{file}: a graph is a JSON object")
        text, n = c_strings(json.dumps(document, ensure_ascii=False, separators=(",", ":")))
        entries.append(f'        {{"{file.stem}",\n{text},\n         {n}}},\n')
    pathlib.Path(output).write_text(
        "/* Made by libaiplat/graphs/embed.py from the files beside it; do not edit. */\n"
        '#include "catalog/shipped_graphs.h"\n\n'
        '#pragma GCC diagnostic ignored "-Woverlength-strings"\n\n'
        "const struct aip_shipped_graph aip_shipped_graphs[] = {\n" + "".join(entries) + "};\n"
        f"const size_t aip_n_shipped_graphs = {len(entries)};\n",
        encoding="ascii",
    )


main(sys.argv[1], sys.argv[2:])
