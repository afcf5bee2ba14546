-- outbox_advance again. Where it found the turn's owner confirmed, it left the
-- key to outbox_pass_turn; but whoever was ending that turn at the same moment
-- may have looked before ours were held, and the key would have stood still
-- until the next round of housekeeping. So it asks in any case.

-- +goose Up
-- +goose StatementBegin
DO $do$ BEGIN EXECUTE format($ddl$
CREATE OR REPLACE FUNCTION outbox_advance(keys text[]) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = %1$I, pg_temp AS $$
DECLARE
    key text;
    owner uuid;
    next uuid;
    tried uuid;
    advanced integer := 0;
BEGIN
    FOR key IN SELECT DISTINCT k FROM unnest(keys) AS k ORDER BY k LOOP
        SELECT event_id INTO owner FROM outbox_turns JOIN inbox USING (event_id) WHERE ordering_key = key;
        IF FOUND THEN
            PERFORM outbox_pass_turn(owner);
            advanced := advanced + 1;
        END IF;
        -- It had been written once more, and the repeat was being claimed, when
        -- the event got the turn.
        SELECT t.event_id INTO owner FROM outbox_turns t JOIN outbox_held h ON h.id = t.event_id
        WHERE t.ordering_key = key AND h.ordering_key = key;
        IF FOUND AND outbox_let_go(owner) THEN
            advanced := advanced + 1;
        END IF;
        tried := NULL;
        LOOP
            next := outbox_next_of_key(key, NULL);
            -- What can neither go nor be set aside is met again.
            EXIT WHEN next IS NULL OR next IS NOT DISTINCT FROM tried;
            tried := next;
            IF EXISTS (SELECT FROM outbox_turns t WHERE t.event_id = next AND t.ordering_key <> key) THEN
                PERFORM outbox_absorb(next);
                CONTINUE;
            END IF;
            INSERT INTO outbox_turns AS t (ordering_key, event_id) VALUES (key, next)
            ON CONFLICT (ordering_key) DO UPDATE SET event_id = t.event_id WHERE false;
            EXIT WHEN NOT FOUND;
            IF outbox_let_go(next) THEN
                advanced := advanced + 1;
                EXIT;
            END IF;
            DELETE FROM outbox_turns WHERE ordering_key = key;
        END LOOP;
    END LOOP;
    RETURN advanced;
END $$
$ddl$, current_schema()); END $do$;
-- +goose StatementEnd

-- +goose Down
-- Nothing: the function before did less, and nothing needs it to.
