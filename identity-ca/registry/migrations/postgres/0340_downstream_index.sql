-- Registrations that let their SPIFFE ID run a CA: there are few, and each new registration asks for them.
CREATE INDEX registrations_downstream ON registrations (spiffe_id) WHERE downstream = 1;
