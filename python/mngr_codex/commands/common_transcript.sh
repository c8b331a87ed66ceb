#!/bin/sh
# Updates the common transcript, and the raw transcript that it is created from.
# mngr runs the script by this name when it destroys an agent: `bash common_transcript.sh --single-pass`.
# The rollout is complete by then, so no record is held back.
set -eu
case $0 in
*/*) program=${0%/*}/mngr-codex ;;
*) program=./mngr-codex ;;
esac
# The program need not be on PATH; the one next to this script takes precedence.
[ -x "$program" ] || program=mngr-codex
exec "$program" watch --once --final
