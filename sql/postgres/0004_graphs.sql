-- Graphs as documents (docs/graphs.md). Part of the catalog: changes raise its revision and notify.
-- Those that the library ships need no row; one of the same name takes its place.
CREATE TABLE graphs (
        id serial PRIMARY KEY,
        name varchar(255) UNIQUE NOT NULL
                CHECK (octet_length(name) BETWEEN 1 AND 255 AND name !~ '[[:cntrl:]]'
                       AND name !~ '^\s' AND name !~ '\s$'),
        document json NOT NULL -- not jsonb: the order of members is kept for its reader
                CHECK (json_typeof(document) = 'object' AND octet_length(document::text) <= 1048576),
        version integer NOT NULL DEFAULT 1, -- raised with every change
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION aiplat_graph_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
        NEW.version := OLD.version + 1;
        RETURN NEW;
END $$;

CREATE TRIGGER graphs_touch BEFORE UPDATE ON graphs
        FOR EACH ROW EXECUTE FUNCTION aiplat_touch_row();
CREATE TRIGGER graphs_version BEFORE UPDATE ON graphs
        FOR EACH ROW EXECUTE FUNCTION aiplat_graph_changed();
CREATE TRIGGER graphs_inserted AFTER INSERT ON graphs REFERENCING NEW TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION aiplat_catalog_changed();
CREATE TRIGGER graphs_updated AFTER UPDATE ON graphs REFERENCING NEW TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION aiplat_catalog_changed();
CREATE TRIGGER graphs_deleted AFTER DELETE ON graphs REFERENCING OLD TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION aiplat_catalog_changed();
CREATE TRIGGER graphs_truncated AFTER TRUNCATE ON graphs
        FOR EACH STATEMENT EXECUTE FUNCTION aiplat_catalog_changed();
