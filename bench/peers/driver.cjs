// driver.cjs - what the peers written for node share: the commands of bench/driver.c, a
// line each, and an answer to each of them, "ok ..." or "cannot ..." and why. The first
// answer, to nothing, comes when all masters are connected.
//
//   pairs COUNT             so many times lock and unlock: the median time of a pair, and
//                           the CPU time that a pair took, in nanoseconds
//   flight AT_ONCE COUNT    so many pairs, AT_ONCE names at a time, after each name was
//                           taken once: pairs a second, and the CPU time of a pair
//   lock NAME               waits for it: the time at which it was there
//   unlock                  gives it back: the time before that
//
// Times are CLOCK_MONOTONIC in nanoseconds, as process.hrtime has it.
"use strict";

const readline = require("readline");

const mine = `bench-${process.pid}`;

function say(...words) {
	process.stdout.write(words.join(" ").replace(/\s+/g, " ") + "\n");
}

// A module of npm's, or the answer that it isn't here.
function need(name) {
	try {
		return require(name);
	} catch (error) {
		say("cannot", error.code === "MODULE_NOT_FOUND" ? `not installed: ${name}` : `be loaded: ${error.message}`);
		process.exit(1);
	}
}

function now() {
	return Number(process.hrtime.bigint());
}

async function pair(peer, name) {
	await peer.unlock(await peer.lock(name));
}

async function measured(count, work) {
	const begin = now(), used = process.cpuUsage();
	await work();
	const { user, system } = process.cpuUsage(used);
	return { ns: now() - begin, cpuNs: ((user + system) * 1000) / count };
}

async function pairs(peer, count) {
	const took = [];
	const { cpuNs } = await measured(count, async () => {
		for (let i = 0; i < count; i++) {
			const begin = now();
			await pair(peer, mine);
			took.push(now() - begin);
		}
	});
	took.sort((a, b) => a - b);
	return [took[(count - 1) >> 1], Math.round(cpuNs)];
}

async function fly(peer, atOnce, count) {
	let begun = 0;
	const slot = async (name) => {
		while (begun < count) {
			begun++;
			await pair(peer, name);
		}
	};
	await Promise.all(Array.from({ length: atOnce }, (_, i) => slot(`${mine}-${i}`)));
}

async function flight(peer, atOnce, count) {
	await fly(peer, atOnce, atOnce);
	const { ns, cpuNs } = await measured(count, () => fly(peer, atOnce, count));
	return [(count * 1e9) / ns, Math.round(cpuNs)];
}

let held;

async function answer(peer, [command, ...words]) {
	switch (command) {
	case "pairs":
		return pairs(peer, Number(words[0]));
	case "flight":
		return flight(peer, Number(words[0]), Number(words[1]));
	case "lock":
		held = await peer.lock(words[0]);
		return [now()];
	case "unlock": {
		const begin = now();
		await peer.unlock(held);
		return [begin];
	}
	}
	throw new Error(`no such command: ${command}`);
}

// drive - `peer` makes of connected clients of ioredis an object with lock(name) and
// unlock(what that gave).
async function drive(peer) {
	const { Redis } = need("ioredis");
	const clients = process.argv.slice(2).map((server) => {
		const [host, port] = server.split(":");
		return new Redis(Number(port), host);
	});
	// A lost connection is in what the calls say.
	for (const client of clients) client.on("error", () => {});
	await Promise.all(clients.map((client) => client.ping()));
	const driven = peer(clients);
	say("ok");
	for await (const line of readline.createInterface({ input: process.stdin })) {
		try {
			say("ok", ...(await answer(driven, line.split(" "))));
		} catch (error) {
			say("cannot", error.message);
		}
	}
	process.exit(0);
}

module.exports = { drive, need };
