-- An envelope is about to be sent.
-- :digest, :key, :envelope
INSERT INTO cut (digest, key, envelope) VALUES (:digest, :key, :envelope)
