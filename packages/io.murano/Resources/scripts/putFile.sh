#!/bin/sh
# Puts the file that came with this plan to the path given as arguments. The agent lays plan files out as links to their
# content, so the content behind the link is what moves.
set -eu
path="$*"
content="$(readlink -f destinationFile)"
mkdir -p "$(dirname "$path")"
mv -f "$content" "$path"
