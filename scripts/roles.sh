# shellcheck shell=sh disable=SC2034
# Read by env.sh and locks.sh: the roles, and the extras of pyproject.toml that each consists of.

roles="dev train serve-cpu serve-gpu loadtest kaggle hub azure parquet ray"   # dev first: it holds the others' versions

extras_of() {
    case $1 in
        serve-cpu) echo cpu build ;;
        serve-gpu) echo gpu build ;;
        train) echo cpu train build ;;
        loadtest) echo loadtest build ;;
        dev) echo cpu train hub azure parquet ray loadtest dev build ;;
        kaggle | hub | azure | parquet | ray) echo "$1" ;;  # no environment: a layer on top of another's
        *) echo "there is no role \"$1\"" >&2; return 2 ;;
    esac
}
