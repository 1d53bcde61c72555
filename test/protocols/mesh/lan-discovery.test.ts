import t from 'tap';
import { chanceToAsk } from '../../../protocols/mesh/lan-discovery.ts';

t.test(
  'who is alone always asks, and connected members together ask as often however many they are',
  async (t) => {
    t.equal(chanceToAsk(0), 1);
    for (const members of [2, 3, 10, 1000]) {
      const questions = members * chanceToAsk(members - 1);
      t.ok(Math.abs(questions - 1 / 60) < 1e-9, `${members} members: ${questions} in ten seconds`);
    }
  },
);
