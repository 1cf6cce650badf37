// locks.cjs KIND try|hold|count NAME [FOLDER TIMES] - locks of npm's packages; see locks.py.
//   proper-lockfile   mkdir, kept fresh by utimes
//   lockfile          open with O_EXCL
'use strict';

const fs = require('fs');
const [kind, action, name, folder, times] = process.argv.slice(2);

// Each: true when it was obtained, false when it is held, an exception for the rest.
const kinds = {
	'proper-lockfile': () => {
		const library = require('proper-lockfile');
		const compromised = (error) => { throw error; };
		let release;
		return {
			take: async () => {
				try {
					release = await library.lock(name, { realpath: false, stale: 2000, onCompromised: compromised });
					return true;
				} catch (error) {
					if (error.code !== 'ELOCKED') throw error;
					return false;
				}
			},
			give: () => release(),
		};
	},
	lockfile: () => {
		const library = require('lockfile');
		return {
			take: () => new Promise((resolve, reject) => library.lock(`${name}.lock`, {}, (error) => {
				if (error && error.code !== 'EEXIST') reject(error);
				else resolve(!error);
			})),
			give: () => new Promise((resolve, reject) =>
				library.unlock(`${name}.lock`, (error) => error ? reject(error) : resolve())),
		};
	},
};

const sleep = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

const read = (path) => fs.readFileSync(path, 'utf8').trim();

// As increment.sh: who is inside must be alone from the first line to the last.
async function increment() {
	const me = String(process.pid);
	const [inside, counter] = [`${folder}/inside`, `${folder}/counter`];
	const before = read(inside);
	if (before) throw new Error(`${before} is inside together with ${me}`);
	fs.writeFileSync(inside, `${me}\n`);
	const number = Number(read(counter));
	await sleep(1);
	fs.writeFileSync(counter, `${number + 1}\n`);
	const after = read(inside);
	if (after !== me) throw new Error(`${after} came inside to ${me}`);
	fs.writeFileSync(inside, '\n');
}

async function wait(lock) {
	const end = Date.now() + 60000;
	while (!await lock.take()) {
		if (Date.now() > end) throw new Error('held');
		await sleep(3 + Math.random() * 5);
	}
}

async function main() {
	const lock = kinds[kind]();
	if (action === 'try') {
		if (!await lock.take()) {
			console.log('held');
			process.exitCode = 1;
			return;
		}
	} else if (action === 'hold') {
		await wait(lock);
		console.log('held');
		for await (const _ of process.stdin); // eslint-disable-line no-unused-vars
	} else {
		for (let i = 0; i < Number(times); i++) {
			await wait(lock);
			await increment();
			await lock.give();
		}
		return;
	}
	await lock.give();
}

main().catch((error) => {
	console.log(error.message);
	process.exitCode = 2;
});
