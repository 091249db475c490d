#!/usr/bin/env python3
"""embed_text.py NAME INPUT OUTPUT: writes a text file as a C string constant called NAME."""
import sys

name, source, target = sys.argv[1:]
with open(source, "rb") as f:
    data = f.read()
with open(target, "w", encoding="ascii") as f:
    f.write(f"/* Made from {source.rsplit('/', 1)[-1]}. */\n")
    f.write(f"extern const char {name}[];\n\nconst char {name}[] = {{\n")
    for at in range(0, len(data), 16):
        f.write("        " + " ".join(f"{byte if byte < 128 else byte - 256}," for byte in data[at : at + 16]) + "\n")
    f.write("        0};\n")
