-- The database and the account of Shaken Fist. It may be run again: that sets the password anew and changes nothing else.
--
-- The password is a variable, so that it is no argument of any program. With the password in a file:
--
--   { printf "SET @shakenfist_password = '%s';\n" "$(cat password)"; cat bootstrap.sql; } | mariadb
--
-- Without it nothing is done. It must not hold quotes or backslashes.

DELIMITER //
BEGIN NOT ATOMIC
    IF @shakenfist_password IS NULL OR LENGTH(@shakenfist_password) < 12 THEN
        SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'set @shakenfist_password to at least 12 characters first, see the head of bootstrap.sql';
    END IF;
END //
DELIMITER ;

-- Says "created" when there was no such account, so that a playbook can report a change.
SELECT IF(COUNT(*) = 0, 'created', 'present') AS account FROM mysql.user WHERE user = 'shakenfist';

CREATE DATABASE IF NOT EXISTS shakenfist CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;

CREATE USER IF NOT EXISTS 'shakenfist'@'%';
EXECUTE IMMEDIATE CONCAT('ALTER USER ''shakenfist''@''%'' IDENTIFIED BY ', QUOTE(@shakenfist_password));

-- Only this schema: the gateways make and upgrade their tables, and need nothing of the server.
GRANT ALL PRIVILEGES ON shakenfist.* TO 'shakenfist'@'%';
