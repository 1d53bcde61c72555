import t from 'tap';
import { LAYER_LIMITS, type LayerEntry, LayerRules, safePath } from '../../../images/core/layer-rules.ts';
import fc from '../../laws.ts';

const file = (path: string, more: Partial<LayerEntry> = {}): LayerEntry => ({
  path,
  type: 'file',
  size: 0,
  link: '',
  major: 0,
  minor: 0,
  ...more,
});
const rules = (privileged = true, limits = LAYER_LIMITS) => new LayerRules({ limits, privileged });
const feed = (entries: LayerEntry[], target = rules()) => entries.map((entry) => target.entry(entry));

t.test('hostile entries are refused', async (t) => {
  const cases: [string, LayerEntry[]][] = [
    ['a path that climbs', [file('../a')]],
    ['a path that climbs inside', [file('a/../../b')]],
    ['an absolute path', [file('/etc/passwd')]],
    ['a zero byte', [file('a\0b')]],
    ['a name that is too long', [file('x'.repeat(256))]],
    ['a path that is too deep', [file('a/'.repeat(200))]],
    ['a parent that is a symlink', [file('a', { type: 'symlink', link: '/etc' }), file('a/passwd')]],
    [
      'a symlink that became a directory',
      [file('a', { type: 'symlink', link: '/' }), file('a', { type: 'directory' }), file('a/b')],
    ],
    ['a hard link out', [file('a', { type: 'link', link: '../../etc/shadow' })]],
    ['a hard link to what is not in the layer', [file('a', { type: 'link', link: '/etc/shadow' })]],
    [
      'a hard link to a directory',
      [file('d', { type: 'directory' }), file('a', { type: 'link', link: 'd' })],
    ],
    [
      'a path through a hard link to a symlink',
      [file('s', { type: 'symlink', link: '/' }), file('l', { type: 'link', link: 's' }), file('l/x')],
    ],
    ['a whiteout of the parent', [file('.wh...')]],
    ['a path inside a whiteout', [file('.wh.a/b')]],
    ['a size that is no number', [file('a', { size: Number.NaN })]],
    ['a giant', [file('a', { size: 2 ** 50 })]],
  ];
  for (const [name, entries] of cases) t.throws(() => feed(entries), { code: 'E_LAYER_HOSTILE' }, name);
});

t.test('each limit is enforced', async (t) => {
  const limits = { ...LAYER_LIMITS, entries_max: 2, unpacked_bytes_max: 10, paths_bytes_max: 20 };
  t.throws(() => feed([file('a'), file('b'), file('c')], rules(true, limits)), { code: 'E_LAYER_HOSTILE' });
  t.throws(() => feed([file('a', { size: 6 }), file('b', { size: 6 })], rules(true, limits)), {
    code: 'E_LAYER_HOSTILE',
  });
  t.throws(() => feed([file('abcdef'), file('ghijkl')], rules(true, limits)), { code: 'E_LAYER_HOSTILE' });
});

t.test('whiteouts are told from files, sorted', async (t) => {
  const target = rules();
  const verdicts = feed(
    [
      file('d', { type: 'directory' }),
      file('d/.wh.b'),
      file('.wh.a'),
      file('d/.wh..wh..opq'),
      file('.wh..wh.plnk'),
    ],
    target,
  );
  t.same(
    verdicts.map((verdict) => verdict.keep),
    [true, false, false, false, false],
  );
  t.same(target.finish(), { removed: ['a', 'd/b'], opaque: ['d'] });
});

t.test(
  'a whiteout of a directory that the layer brings makes it opaque; of a file it is nothing',
  async (t) => {
    const target = rules();
    feed([file('.wh.d'), file('d', { type: 'directory' }), file('.wh.f'), file('f')], target);
    t.same(target.finish(), { removed: [], opaque: ['d'] });
  },
);

t.test('devices are dropped but for the harmless ones of root', async (t) => {
  const nul = file('dev/null', { type: 'character', major: 1, minor: 3 });
  const disk = file('dev/sda', { type: 'block', major: 8, minor: 0 });
  const memory = file('dev/mem', { type: 'character', major: 1, minor: 1 });
  t.same(
    feed([nul, disk, memory]).map((verdict) => verdict.keep),
    [true, false, false],
  );
  t.same(
    feed([nul, disk, memory], rules(false)).map((verdict) => verdict.keep),
    [false, false, false],
  );
  t.same(
    feed([disk, file('l', { type: 'link', link: 'dev/sda' })]).map((verdict) => verdict.keep),
    [false, false],
  );
});

t.test('no path escapes, whatever it is made of', async () => {
  const part = fc.oneof(
    fc.constantFrom('.', '..', '', '/', 'a', '.wh.', '\0', '...'),
    fc.string({ maxLength: 4 }),
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
      let path: string;
      try {
        path = safePath(parts.join('/'), LAYER_LIMITS);
      } catch {
        return true;
      }
      const components = path.split('/');
      return (
        path === '' || (!path.startsWith('/') && components.every((one) => !['', '.', '..'].includes(one)))
      );
    }),
  );
});

t.test('no kept entry has a symlink of its layer as a parent', async () => {
  const name = fc.constantFrom('a', 'b', 'a/b', 'b/a', 'a/b/c', './a', 'b/./c');
  const type = fc.constantFrom<LayerEntry['type']>('file', 'directory', 'symlink', 'link');
  fc.assert(
    fc.property(fc.array(fc.tuple(name, type, name), { maxLength: 12 }), (entries) => {
      const target = rules();
      const symlinks = new Set<string>();
      for (const [path, kind, link] of entries) {
        try {
          const verdict = target.entry(file(path, { type: kind, link }));
          if (!verdict.keep) continue;
          const parts = verdict.path.split('/');
          if (parts.some((_, at) => at > 0 && symlinks.has(parts.slice(0, at).join('/')))) return false;
          if (kind === 'symlink' || (kind === 'link' && symlinks.has(verdict.link)))
            symlinks.add(verdict.path);
        } catch {
          // Refused: the whole layer is, in life; here the machine must hold even when it is fed on.
        }
      }
      return true;
    }),
  );
});
