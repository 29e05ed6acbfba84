/** Channels that somebody waits on: how full they are, and one of them as a picture. */

import { useState } from "preact/hooks";
import { parameters } from "../filter";
import { Filter, useFilter } from "../filtered";
import { count, duration, plural } from "../format";
import { List } from "../list";
import { AsOf, Empty, Fill, Trouble, Where } from "../parts";
import { Picture } from "../picture";
import { usePages, usePoll } from "../poll";
import { href, replace } from "../route";
import type { Route } from "../route";
import { useStore } from "../store";
import type { Channel, Channels } from "../types";

function Row({ channel }: { channel: Channel | undefined }) {
  if (!channel) return <span class="cells channel dim">…</span>;
  const { address, type, len, cap, closed, send_waiting, recv_waiting, timer, moving } = channel;
  return (
    <a class="cells channel" href={href("channels", address)}>
      <span class="what">
        <span class="address">{address}</span> <span class="type">chan {type || "?"}</span>
      </span>
      <span class="filled">
        {cap > 0 ? <Fill len={len} cap={cap} label={`Fill of ${address}`} /> : <span class="dim">no buffer</span>}
        {cap > 0 && (
          <b>
            {count(len)}/{count(cap)}
          </b>
        )}
        {closed && <span class="closed">closed</span>}
        {timer && <span class="dim">timer</span>}
        {moving && <span class="warn">changing</span>}
      </span>
      <span class="waits">
        <span class={send_waiting.length > 0 ? "" : "dim"}>{count(send_waiting.length)} to send</span>
        <span class={recv_waiting.length > 0 ? "" : "dim"}>{count(recv_waiting.length)} to receive</span>
      </span>
    </a>
  );
}

export function ChannelsView({ route }: { route: Route }) {
  const [filter, setFilter] = useFilter(route);
  const [range, setRange] = useState({ first: 0, last: 0 });
  const sort = route.query.get("sort") ?? "fill";
  const query = parameters(filter);
  query.append("sort", sort);
  const pages = usePages<Channels, Channel>(`/api/v1/channels?${query}`, (document) => document.channels, range);
  const { data, error, stale } = pages;
  return (
    <div class="listing">
      <div class="bar-of-view">
        <Filter value={filter} set={setFilter} placeholder="Filter by who waits: a word, or e.g.  chan 0xc000012345" />
        <label>
          Order{" "}
          <select value={sort} onChange={(event) => replace(href("channels", null, { filter, sort: event.currentTarget.value }))}>
            <option value="fill">fullest first</option>
            <option value="waiting">most waiting first</option>
            <option value="address">by address</option>
          </select>
        </label>
      </div>
      {error && !data && <Trouble error={error} />}
      {!data && !error && <Empty title="Asking gotrace …" />}
      {data?.matching === 0 && (
        <Empty title="No channel">
          {filter ? "Nobody who meets the filter waits on one." : "Nobody waits on a channel. Here are those that somebody waits on."}
        </Empty>
      )}
      {data && data.matching > 0 && (
        <>
          <p class="sum">
            {plural(data.matching, "channel")} that somebody waits on <AsOf part={data} />
            {error && <span class="warn"> · {error.message}</span>}
          </p>
          <div class={stale ? "body stale" : "body"}>
            <List
              label="Channels"
              count={data.matching}
              height={52}
              onRange={(first, last) => setRange({ first, last })}
              row={(index) => <Row channel={pages.at(index)} />}
            />
          </div>
        </>
      )}
    </div>
  );
}

export function ChannelView({ address }: { address: string }) {
  const { found } = useStore();
  const query = new URLSearchParams({ with: `chan ${address}` });
  const { data, error } = usePoll<Channels>(`/api/v1/channels?${query}`);
  const channel = data?.channels.find((one) => one.address === address);
  const concerned = found.filter((finding) => finding.chain.some((link) => link.waits_on.address === address));
  return (
    <div class="one-channel scroll">
      <h1>
        <span class="address">{address}</span> {channel && <span class="type">chan {channel.type || "?"}</span>}
      </h1>
      {error && !data && <Trouble error={error} />}
      {data && !channel && (
        <Empty title="Nobody waits on it now">
          It is empty or full and nobody minds, or it is no channel any more. Once somebody waits on it, it is here.
        </Empty>
      )}
      {channel && data && (
        <>
          <Picture of={channel} />
          <dl class="facts">
            <dt>Made at</dt>
            <dd>
              <Where at={channel.made_at} none="not seen: it was made before gotrace came, or below level full" />
            </dd>
            {channel.timer && (
              <>
                <dt>Timer</dt>
                <dd>
                  {channel.timer.fires_at ? `fires at ${channel.timer.fires_at}` : "stopped, or fired"}
                  {channel.timer.period_seconds !== null && `, every ${duration(channel.timer.period_seconds)}`}
                </dd>
              </>
            )}
            {concerned.length > 0 && (
              <>
                <dt>Found</dt>
                <dd>
                  {concerned.map((finding) => (
                    <a key={finding.id} class="chip" href={href("findings", finding.id)}>
                      {finding.verdict} {finding.kind}
                    </a>
                  ))}
                </dd>
              </>
            )}
          </dl>
          <p class="sum">
            <AsOf part={data} />
          </p>
        </>
      )}
    </div>
  );
}
