import t from 'tap';
import { imageNameOrUndefined, parseImageName } from '../../../images/core/image-name.ts';

t.test('names get a tag and lose the prefix of the docker registry', async (t) => {
  const cases: [string, string][] = [
    ['redis', 'redis:latest'],
    ['redis:7', 'redis:7'],
    ['docker.io/library/redis:7', 'redis:7'],
    ['docker.io/team/app', 'team/app:latest'],
    ['localhost:5000/app', 'localhost:5000/app:latest'],
    ['localhost:5000/team/app:v1', 'localhost:5000/team/app:v1'],
  ];
  for (const [given, name] of cases) {
    t.equal(parseImageName(given), name);
    t.equal(parseImageName(name), name, 'parsing twice changes nothing');
  }
});

t.test('what is no name is refused', async (t) => {
  for (const given of [
    '',
    ':',
    'a:',
    'A b',
    'redis@sha256:1',
    'a//b',
    '../a',
    `a:${'x'.repeat(129)}`,
    'a'.repeat(256),
  ]) {
    t.throws(() => parseImageName(given), { code: 'E_BAD_INPUT' }, given.slice(0, 20));
    t.equal(imageNameOrUndefined(given), undefined);
  }
});
