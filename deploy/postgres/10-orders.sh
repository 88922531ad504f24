#!/bin/sh
# Runs once, when the volume is new: the service's role, and a database for each topic. The superuser is not the service's.
set -eu
psql -v ON_ERROR_STOP=1 -v password="$(cat /run/secrets/orders_password)" --username "$POSTGRES_USER" --dbname postgres <<'SQL'
create role orders login password :'password';
create database orders owner orders encoding 'UTF8' template template0;
create database orders_zookeeper owner orders encoding 'UTF8' template template0;
SQL
