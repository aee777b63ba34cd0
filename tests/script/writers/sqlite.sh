cd "$1"
sqlite3 db 'create table t(a); insert into t values(1),(2);'
sqlite3 db 'begin; update t set a=a+1; insert into t values(3); commit; select a from t'
sqlite3 db 'begin; delete from t; rollback; select count(*) from t'
sqlite3 db-wal-mode 'pragma journal_mode=wal; create table t(a); insert into t values(7); select * from t'
