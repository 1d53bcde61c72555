/**
 * The import rules of DESIGN section 1, as a scanner of this repository's sources: which part may import which, what a
 * pure part may touch, and which file may import a library. It reads text and reports; check.ts runs it.
 * It also fails when it looked at nothing, since a check that sees no files proves nothing.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import path from 'node:path';

/** A source file: path from the root with `/`, and its text. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

export interface Violation {
  readonly file: string;
  readonly line: number;
  readonly message: string;
}

/** Part to the parts that it may import besides itself. A file belongs to the longest prefix. */
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  'protocols/base': [],
  protocols: ['protocols/base'],
  scheduler: ['protocols', 'protocols/base'],
  images: ['protocols', 'protocols/base'],
  daemon: ['protocols', 'protocols/base', 'scheduler', 'images'],
  // The CLI is a client of the API: of the daemon it sees only what describes that, and starts it by one import.
  'daemon/cli': ['protocols/base'],
};

/** Single files that a part may import although its layer may not. */
const EXCEPTIONS: readonly { readonly from: string; readonly to: readonly string[] }[] = [
  {
    from: 'daemon/cli/',
    to: [
      'daemon/api/client.ts',
      'daemon/api/backend.ts',
      'daemon/api/schemas.ts',
      'daemon/api/trust-schemas.ts',
      'daemon/config/paths.ts',
      'daemon/config/options.ts',
      'daemon/version.ts',
      'scheduler/units.ts',
    ],
  },
  { from: 'daemon/cli/commands/daemon.ts', to: ['daemon/main.ts'] },
];
/** Of `daemon/api`, these are for types only in the CLI: at run time they would load a schema library. */
const TYPES_ONLY: readonly { readonly from: string; readonly to: string }[] = [
  { from: 'daemon/cli/', to: 'daemon/api/schemas.ts' },
  { from: 'daemon/cli/', to: 'daemon/api/trust-schemas.ts' },
  { from: 'daemon/cli/', to: 'daemon/api/backend.ts' },
];

const CORE = /^(?:protocols\/(?!mesh\/)|scheduler\/|images\/core\/)/;
/** What a pure part may not touch, in its code without comments and strings. */
const IMPURE: readonly [RegExp, string][] = [
  [/\bDate\b/, 'Date'],
  [/\bMath\s*\.\s*random\b/, 'Math.random'],
  [/\b(?:setTimeout|setInterval|setImmediate|queueMicrotask)\b/, 'a timer'],
  [/\bprocess\s*[.[]/, 'process'],
  [/\bconsole\s*[.[]/, 'console'],
  [/\b(?:globalThis|performance|fetch)\s*[.([]/, 'the world outside'],
  [/\bcrypto\s*\.\s*(?:getRandomValues|randomUUID|subtle)\b/, 'randomness of its own'],
];

/** Library (or its scope) to where it may be imported; a folder ends in `/`. `files_max`: one importer. */
const LIBRARIES: readonly { readonly library: RegExp; readonly only: string; readonly files_max: number }[] =
  [
    {
      library: /^(?:libp2p|@libp2p\/.*|@chainsafe\/.*|@multiformats\/.*|it-.*)$/,
      only: 'protocols/mesh/',
      files_max: 99,
    },
    { library: /^uint8arraylist$/, only: 'protocols/mesh/', files_max: 99 },
    { library: /^(?:webtorrent|create-torrent|parse-torrent)$/, only: 'images/swarm/', files_max: 1 },
    { library: /^tar-stream$/, only: 'images/', files_max: 1 },
    { library: /^dns-packet$/, only: 'daemon/dns/', files_max: 1 },
    { library: /^(?:fastify|@fastify\/.*)$/, only: 'daemon/api/', files_max: 99 },
    { library: /^commander$/, only: 'daemon/cli/', files_max: 99 },
    { library: /^node:sqlite$/, only: 'daemon/', files_max: 1 },
    { library: /^msgpackr$/, only: 'protocols/base/codec.ts', files_max: 1 },
  ];

export interface Import {
  readonly specifier: string;
  readonly line: number;
  readonly typeOnly: boolean;
}

interface Code {
  /** The text with comments, strings and regular expressions blanked; lines stay where they are. */
  readonly bare: string;
  /** Contents of string literals by the offset of their opening quote. */
  readonly strings: ReadonlyMap<number, string>;
}

/** Not a parser: enough of JavaScript's lexical grammar (ECMA-262, 12) to tell code from comments and strings. */
function lex(text: string): Code {
  const bare = text.split('');
  const strings = new Map<number, string>();
  const blank = (from: number, to: number) => {
    for (let at = from; at < to; at++) if (bare[at] !== '\n') bare[at] = ' ';
  };
  // For `${…}` in templates: the depth of braces at which each open template goes on.
  const templates: number[] = [];
  let depth = 0;
  let at = 0;
  let significant = '';
  const template = (from: number): number => {
    let end = from;
    while (end < text.length && text[end] !== '`') {
      if (text.startsWith('${', end)) {
        blank(from, end);
        templates.push(depth);
        depth += 1;
        return end + 2;
      }
      end += text[end] === '\\' ? 2 : 1;
    }
    blank(from, end);
    return end + 1;
  };
  while (at < text.length) {
    const two = text.slice(at, at + 2);
    const one = text[at] ?? '';
    if (two === '//' || (at === 0 && two === '#!')) {
      const end = text.indexOf('\n', at);
      blank(at, end < 0 ? text.length : end);
      at = end < 0 ? text.length : end;
    } else if (two === '/*') {
      const end = text.indexOf('*/', at + 2);
      blank(at, end < 0 ? text.length : end + 2);
      at = end < 0 ? text.length : end + 2;
    } else if (one === '"' || one === "'") {
      let end = at + 1;
      while (end < text.length && text[end] !== one && text[end] !== '\n') end += text[end] === '\\' ? 2 : 1;
      strings.set(at, text.slice(at + 1, end));
      blank(at + 1, end);
      at = end + 1;
      significant = one;
    } else if (one === '`') {
      const end = text.indexOf('`', at + 1);
      const inner = text.slice(at + 1, end);
      if (end > 0 && !inner.includes('${') && !inner.includes('\\')) strings.set(at, inner);
      at = template(at + 1);
      significant = '`';
    } else if (one === '/' && regexMayStart(significant, text, at)) {
      let end = at + 1;
      let inClass = false;
      while (end < text.length && text[end] !== '\n' && (inClass || text[end] !== '/')) {
        if (text[end] === '[') inClass = true;
        if (text[end] === ']') inClass = false;
        end += text[end] === '\\' ? 2 : 1;
      }
      blank(at + 1, end);
      at = end + 1;
      significant = ')';
    } else {
      if (one === '{') depth += 1;
      if (one === '}') {
        depth -= 1;
        if (templates.at(-1) === depth) {
          templates.pop();
          at = template(at + 1);
          significant = '`';
          continue;
        }
      }
      if (one.trim() !== '') significant = one;
      at += 1;
    }
  }
  return { bare: bare.join(''), strings };
}

/** A slash begins a regular expression where a value may begin: not after a value. */
function regexMayStart(significant: string, text: string, at: number): boolean {
  if (/[\w$)\]}'"`]/.test(significant))
    return /\b(?:return|typeof|case|in|of|do|else|void|throw)\s*$/.test(text.slice(0, at));
  return true;
}

/** Static, dynamic and type imports, re-exports and `import('…')` types. */
export function importsOf(text: string): Import[] {
  return imports(lex(text));
}

function imports({ bare, strings }: Code): Import[] {
  const found: Import[] = [];
  const add = (quote: number, at: number, typeOnly: boolean) => {
    const specifier = strings.get(quote);
    const line = bare.slice(0, at).split('\n').length;
    // What cannot be read cannot be checked: an import of a computed name is named as such.
    found.push({ specifier: specifier ?? '<computed>', line, typeOnly });
  };
  for (const match of bare.matchAll(/\b(import|export)\b(\s+type\b)?([^;'"`()]*?)\bfrom\s*(['"])/g)) {
    add(match.index + match[0].length - 1, match.index, match[2] !== undefined);
  }
  for (const match of bare.matchAll(/\bimport\s*(['"])/g))
    add(match.index + match[0].length - 1, match.index, false);
  for (const match of bare.matchAll(/(?<![.#\w$])(?:import|require)\s*\(\s*(.)/g)) {
    if (isMethod(bare, match.index)) continue;
    add(match.index + match[0].length - 1, match.index, false);
  }
  return found;
}

/** `import(path: string): Promise<…>` and `import(path) {` declare a method of that name; a call goes on otherwise. */
function isMethod(bare: string, from: number): boolean {
  let depth = 0;
  for (let at = bare.indexOf('(', from); at < bare.length; at++) {
    if (bare[at] === '(') depth += 1;
    if (bare[at] === ')') depth -= 1;
    if (depth === 0)
      return /^\s*[:{]/.test(bare.slice(at + 1)) && /(?:^|[;{}]|\basync)\s*$/.test(bare.slice(0, from));
  }
  return false;
}

function partOf(file: string): string | undefined {
  return Object.keys(LAYERS)
    .filter((part) => file.startsWith(`${part}/`))
    .sort((a, b) => b.length - a.length)[0];
}

/** Folders of protocols/ are parts of one layer and may import one another. */
function mayImport(from: string, to: string): boolean {
  const part = partOf(from);
  const target = partOf(to);
  if (part === undefined || target === undefined) return part === undefined;
  if (part === target || LAYERS[part]?.includes(target)) return true;
  return EXCEPTIONS.some((rule) => from.startsWith(rule.from) && rule.to.includes(to));
}

function checkImport(file: string, { specifier, typeOnly }: Import): string | undefined {
  if (specifier === '<computed>') return 'imports a computed name, which cannot be checked';
  if (specifier.startsWith('.')) {
    const to = path.posix.join(path.posix.dirname(file), specifier);
    if (!mayImport(file, to)) return `may not import ${to}`;
    const bound = TYPES_ONLY.some((rule) => file.startsWith(rule.from) && rule.to === to);
    return bound && !typeOnly ? `may import only types from ${to}` : undefined;
  }
  if (CORE.test(file) && (specifier.startsWith('node:') || isBuiltin(specifier))) {
    return `is pure and may not import ${specifier}`;
  }
  const rule = LIBRARIES.find(({ library }) => library.test(packageOf(specifier)));
  const inside = !rule || (rule.only.endsWith('/') ? file.startsWith(rule.only) : file === rule.only);
  return inside ? undefined : `may not import ${specifier}: only ${rule?.only} does`;
}

/** `@scope/name/deep` is of the package `@scope/name`. */
function packageOf(specifier: string): string {
  if (specifier.startsWith('node:')) return specifier;
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

/** @returns what breaks a rule, in the order of the files. */
export function checkImports(files: readonly SourceFile[]): Violation[] {
  const violations: Violation[] = [];
  const importers = new Map<number, Set<string>>();
  let seen = 0;
  for (const { path: file, text } of files) {
    if (partOf(file) === undefined) continue;
    const code = lex(text);
    for (const found of imports(code)) {
      seen += 1;
      const message = checkImport(file, found);
      if (message) violations.push({ file, line: found.line, message });
      const rule = LIBRARIES.findIndex(({ library }) => library.test(packageOf(found.specifier)));
      if (rule >= 0) importers.set(rule, (importers.get(rule) ?? new Set()).add(file));
    }
    if (CORE.test(file)) violations.push(...impurities(file, code));
  }
  for (const [rule, by] of importers) {
    const { library, files_max } = LIBRARIES[rule] ?? { library: /$^/, files_max: 0 };
    if (by.size > files_max) {
      const message = `${library.source} has ${by.size} importers, ${files_max} is allowed: ${[...by].join(', ')}`;
      violations.push({ file: [...by][0] ?? '', line: 1, message });
    }
  }
  if (seen === 0)
    violations.push({ file: '.', line: 0, message: 'no import was looked at: the check is blind' });
  return violations;
}

function impurities(file: string, { bare }: Code): Violation[] {
  return bare.split('\n').flatMap((line, at) =>
    IMPURE.filter(([pattern]) => pattern.test(line)).map(([, what]) => ({
      file,
      line: at + 1,
      message: `is pure and may not use ${what}`,
    })),
  );
}

const PARTS = ['protocols', 'scheduler', 'images', 'daemon'];

/** @param root of the repository. */
export function readSources(root: string): SourceFile[] {
  return PARTS.flatMap((part) =>
    readdirSync(path.join(root, part), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .sort()
      .map((name) => {
        const file = `${part}/${name.split(path.sep).join('/')}`;
        return { path: file, text: readFileSync(path.join(root, file), 'utf8') };
      }),
  );
}
