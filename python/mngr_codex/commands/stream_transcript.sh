#!/bin/sh
# Brings the raw transcript up to date, and the common one with it.
# mngr runs this under its fixed name when it destroys an agent: `bash stream_transcript.sh --single-pass`.
# Nothing more will come then, so no record is held back.
set -eu
case $0 in
*/*) program=${0%/*}/mngr-codex ;;
*) program=./mngr-codex ;;
esac
# A host need not have the program on PATH: where it was put beside this script, that one is meant.
[ -x "$program" ] || program=mngr-codex
exec "$program" watch --once --final
