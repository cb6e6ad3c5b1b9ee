-- A fresh schema beside the live one; what an interrupted rebuild left behind goes first.
DROP SCHEMA IF EXISTS projection_next CASCADE;
CREATE SCHEMA projection_next;
