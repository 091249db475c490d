#!/usr/bin/env python3
"""Write numbered migrations (NNNN_name.sql) as a C array, so that the library needs no file at run
time. Called by sql/meson.build only:

    embed.py DIALECT OUTPUT.c FILE.sql...

The files must be given in order and be numbered from 1 without a gap.
"""
import pathlib
import re
import sys


def c_string(line):
    """One line of SQL as a C string literal; bytes beyond ASCII as octal escapes."""
    out = []
    for byte in line.encode("utf-8"):
        char = chr(byte)
        if char in '"\\':
            out.append("\\" + char)
        elif char == "?" or byte < 0x20 or byte > 0x7E:  # '?': no trigraphs
            out.append(f"\\{byte:03o}")
        else:
            out.append(char)
    return '"' + "".join(out) + '"'


def main(dialect, output, files):
    entries = []
    for number, file in enumerate(map(pathlib.Path, files), start=1):
        match = re.fullmatch(r"(\d{4})_([a-z0-9_]+)\.sql", file.name)
        if not match or int(match[1]) != number:
            sys.exit(f"{file}: expected a name like {number:04}_what.sql")
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        sql = "\n".join("                " + c_string(line) for line in lines) or '""'
        entries.append(f'        {{{number}, "{match[2]}",\n{sql}}},\n')
    text = (
        "/* Made by sql/embed.py from the files in sql/; do not edit. */\n"
        '#include "migrations.h"\n\n'
        '#pragma GCC diagnostic ignored "-Woverlength-strings"\n\n'
        f"const struct aip_migration aip_migrations_{dialect}[] = {{\n"
        + "".join(entries)
        + "        {0, NULL, NULL},\n};\n"
        f"const size_t aip_migrations_{dialect}_n = {len(entries)};\n"
    )
    pathlib.Path(output).write_text(text, encoding="ascii")


main(sys.argv[1], sys.argv[2], sys.argv[3:])
