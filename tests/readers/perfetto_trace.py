"""Reads a trace by Perfetto's official schema and tells as JSON what is in it.

Usage: perfetto_trace.py FILE. What is not as the schema wants it is in `errors`.
"""

import json
import sys

from google.protobuf.unknown_fields import UnknownFieldSet
from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as schema

EVENT = schema.TrackEvent
errors = []


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def packets(data):
    """The packets of a trace, one by one: as a whole it could be large."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag != schema.Trace.DESCRIPTOR.fields_by_name["packet"].number << 3 | 2:
            errors.append(f"tag {tag} at byte {at} is no packet")
            return
        size, at = varint(data, at)
        packet = schema.TracePacket()
        packet.ParseFromString(data[at : at + size])
        at += size
        yield packet


def check_fields(message):
    """Whether all fields are the schema's."""
    unknown = UnknownFieldSet(message)
    if len(unknown):
        errors.append(f"{message.DESCRIPTOR.full_name}: field {unknown[0].field_number}")
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if field.is_repeated else [value]:
                check_fields(part)


tracks, names, texts, arguments = {}, {}, {}, {}
events, clocks = [], []
for order, packet in enumerate(packets(open(sys.argv[1], "rb").read())):
    check_fields(packet)
    for interned in packet.interned_data.event_names:
        names[interned.iid] = interned.name
    for interned in packet.interned_data.debug_annotation_names:
        arguments[interned.iid] = interned.name
    for interned in packet.interned_data.debug_annotation_string_values:
        texts[interned.iid] = interned.str.decode()
    if packet.HasField("clock_snapshot"):
        clocks += [clock.clock_id for clock in packet.clock_snapshot.clocks]
        if packet.clock_snapshot.primary_trace_clock not in clocks:
            errors.append("the trace's clock is not in its snapshot")
    if packet.HasField("track_descriptor"):
        track = packet.track_descriptor
        kind = "process" if track.HasField("process") else "counter" if track.HasField("counter") else "track"
        name = track.process.process_name if kind == "process" else track.name
        if track.parent_uuid and track.parent_uuid not in tracks:
            errors.append(f"{name} comes before its parent")
        tracks[track.uuid] = {"name": name, "kind": kind, "parent": tracks.get(track.parent_uuid, {}).get("name")}
    if packet.HasField("track_event"):
        event = packet.track_event
        if event.track_uuid not in tracks:
            errors.append(f"an event is on track {event.track_uuid}, which was not described")
            continue
        if event.name_iid and event.name_iid not in names:
            errors.append(f"name {event.name_iid} was not told")
        told = {}
        for annotation in event.debug_annotations:
            which = annotation.WhichOneof("value")
            value = getattr(annotation, which)
            told[arguments[annotation.name_iid]] = texts[value] if which == "string_value_iid" else value
        name = names.get(event.name_iid) or event.name
        events.append((packet.timestamp, order, event, name, told))

# As Perfetto does: by time, and what was written first comes first.
events.sort(key=lambda event: event[:2])
slices, instants, counters, opened, flows = [], [], {}, {}, {}
for at, _, event, name, told in events:
    track = tracks[event.track_uuid]["name"]
    here = {"track": track, "name": name, "from": at, "arguments": told}
    if event.type == EVENT.TYPE_SLICE_BEGIN:
        opened.setdefault(event.track_uuid, []).append(here | {"to": None})
    elif event.type == EVENT.TYPE_SLICE_END:
        if not opened.get(event.track_uuid):
            errors.append(f"a slice of {track} ends that did not begin")
            continue
        slices.append(opened[event.track_uuid].pop() | {"to": at})
        if opened[event.track_uuid]:
            errors.append(f"two slices of {track} overlap at {at}")
    elif event.type == EVENT.TYPE_INSTANT:
        instants.append(here)
    elif event.type == EVENT.TYPE_COUNTER:
        counters.setdefault(track, []).append(event.counter_value)
    for flow in event.flow_ids:
        flows.setdefault(flow, {"from": [], "to": []})["from"].append(here)
    for flow in event.terminating_flow_ids:
        flows.setdefault(flow, {"from": [], "to": []})["to"].append(here)
for left in opened.values():
    slices += left

json.dump(
    {
        "errors": errors[:20],
        "tracks": list(tracks.values()),
        "slices": slices,
        "instants": instants,
        "counters": counters,
        "arrows": list(flows.values()),
    },
    sys.stdout,
)
