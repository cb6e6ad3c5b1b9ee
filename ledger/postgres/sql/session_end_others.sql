-- End all of somebody's sessions but one. $1 id of the person, $2 digest of the one; none ends all
DELETE FROM access.sessions WHERE person = $1 AND digest IS DISTINCT FROM $2
