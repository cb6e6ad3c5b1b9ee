-- Makes one more database as a copy of another one that nobody is connected to.
-- psql variables: name, template.
CREATE DATABASE :"name" TEMPLATE :"template";
