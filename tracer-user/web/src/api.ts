/** Asking gotrace: with the token if there is one, and hearing the stream without EventSource, which cannot
 * send one. */

const key = "gotrace-token";

export const token = {
  get: (): string | null => sessionStorage.getItem(key),
  set: (value: string): void => sessionStorage.setItem(key, value),
  forget: (): void => sessionStorage.removeItem(key),
};

/** An answer that is none. */
export class Refused extends Error {
  readonly status: number;
  readonly next: string | undefined;
  constructor(status: number, message: string, next?: string) {
    super(message);
    this.status = status;
    this.next = next;
  }
}

async function ask(path: string, signal?: AbortSignal): Promise<Response> {
  const known = token.get();
  const headers: Record<string, string> = known ? { Authorization: `Bearer ${known}` } : {};
  const answer = await fetch(path, { headers, cache: "no-store", ...(signal ? { signal } : {}) });
  if (answer.ok) return answer;
  let said: { error?: string; next?: string } = {};
  try {
    said = (await answer.json()) as typeof said;
  } catch {
    // Whoever stands between may answer in other words; the status says enough.
  }
  throw new Refused(answer.status, said.error ?? answer.statusText, said.next);
}

/** A document. */
export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  const answer = await ask(path, signal);
  return (await answer.json()) as T;
}

/** A file, given to the reader under a name. */
export async function download(path: string, name: string): Promise<void> {
  const answer = await ask(path);
  const address = URL.createObjectURL(await answer.blob());
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** Messages of a stream of server-sent events, until it ends. */
export async function* messages<T>(path: string, signal: AbortSignal): AsyncGenerator<T> {
  const answer = await ask(path, signal);
  if (!answer.body) return;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new Parser();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    for (const data of parser.take(value)) yield JSON.parse(data) as T;
  }
}

/** Cuts a stream of server-sent events into the data of its events. */
export class Parser {
  private rest = "";
  private data: string[] = [];

  take(text: string): string[] {
    const whole: string[] = [];
    const lines = (this.rest + text).split("\n");
    this.rest = lines.pop() ?? "";
    for (const raw of lines) {
      const line = raw.endsWith("\r") ? raw.slice(0, -1) : raw;
      if (line.startsWith("data:")) {
        this.data.push(line.slice(5).replace(/^ /, ""));
      } else if (line === "" && this.data.length > 0) {
        whole.push(this.data.join("\n"));
        this.data = [];
      }
    }
    return whole;
  }
}
