-- End a session. $1 digest
DELETE FROM access.sessions WHERE digest = $1
