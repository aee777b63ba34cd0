# Runs one program after the other in the folder $1, each as the words after $2 start it; $2 is a folder of this machine.
writers=$(dirname "$0") folder=$1 here=$2
shift 2
run() {
	echo "== $1"
	"${@:2}" || echo "status $?"
}
run shell "$@" bash "$writers/shell.sh" "$folder"
if command -v git > /dev/null; then run git "$@" bash "$writers/git.sh" "$folder"; fi
if command -v sqlite3 > /dev/null; then run sqlite "$@" bash "$writers/sqlite.sh" "$folder"; fi
if command -v vim > /dev/null; then run vim "$@" bash "$writers/vim.sh" "$folder"; fi
if command -v rsync > /dev/null; then run rsync "$@" bash "$writers/rsync.sh" "$folder" "$here"; fi
if command -v python3 > /dev/null; then run python "$@" python3 "$writers/files.py" "$folder"; fi
if command -v node > /dev/null; then run node "$@" node "$writers/files.mjs" "$folder"; fi
