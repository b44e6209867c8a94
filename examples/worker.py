"""A worker that knows nothing of korch: it reads the offers of one stage from Kafka, works, and answers."""
import contextlib, datetime, json, os, signal, socket, sys, time
from confluent_kafka import Consumer, Producer
STAGES = {"ingest": range(1000, 2000), "standardize": range(2000, 3000), "application": range(3000, 2**53)}
stage = sys.argv[1] if sys.argv[1:] and sys.argv[1] in STAGES else sys.exit(f"usage: worker.py {'|'.join(STAGES)}")
topic, group = os.environ.get("KAFKA_TOPIC", "object.events"), os.environ.get("KAFKA_GROUP", stage + "-service")
kafka = {"bootstrap.servers": os.environ.get("KAFKA_BOOTSTRAP", "localhost:9092")}
me, told_to_stop = f"{stage}@{socket.gethostname()}:{os.getpid()}", []
def work(id_objet, entry):  # The real work goes here. It may be asked for twice; what it raises fails the object.
    time.sleep(float((entry or {}).get("Seconds", os.environ.get("WORK_SECONDS", 0.6))))
def offer(value):  # The event, if it is an offer of our stage. All else is passed over, rubbish too.
    with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
        event = json.loads(value)
        ours = event["event_type"] == "ObjectReady" and type(event["id_objet"]) is int
        return event if ours and event["id_objet"] in STAGES[stage] else None
def from_now_on(consumer, places):  # What the group never read begins at its end; a restart finds that noted.
    for new in [place for place in consumer.committed(places, timeout=10) if place.offset < 0]:
        new.offset = consumer.get_watermark_offsets(new, timeout=10)[1]
        consumer.commit(offsets=[new], asynchronous=False)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: told_to_stop.append(True))
# Keys choose partitions as in Java's client: the answer lands behind its offer, where nobody can doubt the order.
producer = Producer(kafka | {"partitioner": "murmur2_random", "enable.idempotence": True})
consumer = Consumer(kafka | {"group.id": group, "enable.auto.commit": False, "max.poll.interval.ms": 86_400_000})
consumer.subscribe([topic], on_assign=from_now_on)
while not told_to_stop:
    record = consumer.poll(0.5)
    if record and (event := offer(record.value())):
        answer = {"event_type": "ObjectLoaded", "id_objet": event["id_objet"], "meta": {"worker": me}}
        try:
            work(event["id_objet"], event.get("meta"))
        except Exception as error:
            answer["event_type"], answer["meta"]["error"] = "ObjectFailed", repr(error)[:4000]
        answer["event_datetime"] = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")
        key, refused = str(event["id_objet"]), []
        producer.produce(topic, json.dumps(answer), key, on_delivery=lambda error, _: error and refused.append(error))
        if producer.flush() or refused:
            sys.exit(f"no answer to {key}: {refused}")  # The offer stays unread, so that the next start answers it.
        consumer.commit(record)
consumer.close()
