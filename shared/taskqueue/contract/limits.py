"""The limits that no setting moves."""

#: Tasks in a batch at most.
MAX_BATCH = 1000

#: The largest message that a task may make, in bytes: below RabbitMQ's default `max_message_size`, 16 MiB in 4.0.
#: A larger one would be accepted here and refused there, again and again.
MAX_PAYLOAD_BYTES = 15 * 1024 * 1024

#: JSON values and names in one request, or in one result, at most. Each may take 150 bytes once it is parsed, of
#: three in the text: bytes alone don't bound what a request or a task needs.
MAX_VALUES = 250_000

#: Levels of objects and arrays in one request, or in one result, at most. Answers have up to four more around it,
#: and pydantic's parser, one of the strictest among clients, reads 200.
MAX_DEPTH = 196

#: The longest timeout of a task, in seconds: 23 hours, below the day that `deploy/rabbitmq.conf` gives consumers.
MAX_TIMEOUT = 23 * 3600

#: The end of the year 9999, in Unix seconds.
LATEST = 253_402_300_799

#: Characters of an Idempotency-Key at most.
LONGEST_KEY = 255

#: A wait, in seconds, that is longer than any sane one is taken for a mistake, not capped.
LONGEST_WAIT = 86_400

#: Dead letters that one request looks at, at most.
MAX_DEAD_LETTERS = 1000
