mkdir "$1/repo" && cd "$1/repo"
exec 2>&1
export HOME=$PWD GIT_CONFIG_NOSYSTEM=1
git init -q .
git config user.email a@b
git config user.name n
echo text > text
mkdir folder
echo more > folder/more
git add .
git commit -qm one
git status --short
echo changed >> text
git mv folder/more folder/less
git commit -qam two
git log --format='%h %s'
git checkout -q HEAD~
cat folder/more
git checkout -q -
git gc -q
git fsck --strict
git status --short
