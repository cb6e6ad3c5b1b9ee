-- Whether a role sees the rows of all buildings, whatever the policies say. $1 name of the role
SELECT rolbypassrls OR rolsuper FROM pg_roles WHERE rolname = $1
