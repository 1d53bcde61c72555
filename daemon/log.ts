/** Structured logging: one JSON object a line on stderr, or what an embedder hands in. Never a secret. */

export type LogLevel = 'debug' | 'info' | 'warn';
export type Log = (level: LogLevel, message: string, detail?: Record<string, unknown>) => void;

const RANK: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2 };

export function lineLog(
  write: (line: string) => void,
  level_min: LogLevel,
  now: () => number = Date.now,
): Log {
  return (level, message, detail) => {
    if (RANK[level] < RANK[level_min]) return;
    write(`${JSON.stringify({ at: new Date(now()).toISOString(), level, message, ...detail })}\n`);
  };
}

export const silentLog: Log = () => {};
