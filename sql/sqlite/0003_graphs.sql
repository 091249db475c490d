-- Graphs as documents (docs/graphs.md). Part of the catalog: changes raise its revision. Those that
-- the library ships need no row; one of the same name takes its place.
CREATE TABLE graphs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE
                CHECK (length(CAST(name AS BLOB)) BETWEEN 1 AND 255 AND trim(name) = name
                       AND name NOT GLOB '*[' || char(1) || '-' || char(31) || char(127) || ']*'),
        document TEXT NOT NULL
                CHECK (document GLOB '{*' AND length(CAST(document AS BLOB)) <= 1048576),
        version INTEGER NOT NULL DEFAULT 1, -- raised with every change
        created_at INTEGER NOT NULL
                DEFAULT (CAST(strftime('%s', 'now') AS INTEGER) * 1000000
                         + CAST(substr(strftime('%f', 'now'), 4) AS INTEGER) * 1000),
        updated_at INTEGER NOT NULL
                DEFAULT (CAST(strftime('%s', 'now') AS INTEGER) * 1000000
                         + CAST(substr(strftime('%f', 'now'), 4) AS INTEGER) * 1000)
) STRICT;

CREATE TRIGGER graphs_inserted AFTER INSERT ON graphs BEGIN
        UPDATE catalog_revision SET revision = revision + 1;
END;
CREATE TRIGGER graphs_updated AFTER UPDATE ON graphs BEGIN
        UPDATE graphs
        SET created_at = OLD.created_at,
            version = OLD.version + 1,
            updated_at = CAST(strftime('%s', 'now') AS INTEGER) * 1000000
                         + CAST(substr(strftime('%f', 'now'), 4) AS INTEGER) * 1000
        WHERE id = NEW.id;
        UPDATE catalog_revision SET revision = revision + 1;
END;
CREATE TRIGGER graphs_deleted AFTER DELETE ON graphs BEGIN
        UPDATE catalog_revision SET revision = revision + 1;
END;
