// redlock5.cjs - a Redlock client for redlock5.sh, as its users write one.
//
//   hold NAME MS        take NAME for MS, print "held", give it back when standard
//                       input ends, print "released"
//   try NAME            one attempt: status 0 if it was got (and given back), 1 if
//                       it is held by another, 2 for anything else
//   count NAME FILE N   add 1 to the number in FILE N times, each under the lock
//
// The masters come from DLOCK_SERVERS ("127.0.0.1:port,...").
"use strict";

const fs = require("fs");
const Client = require("ioredis");
const { default: Redlock } = require("redlock");

const clients = process.env.DLOCK_SERVERS.split(",").map((server) => {
	const [host, port] = server.split(":");
	return new Client({ host, port: Number(port) });
});

// Without its own retries: between those it keeps the masters that it got, and then
// takes its own keys for somebody else's, until they expire.
function locker() {
	const redlock = new Redlock(clients, { retryCount: 0 });
	// Told for every master that has the lock for another: no error here.
	redlock.on("error", () => {});
	return redlock;
}

function pause(ms) {
	return new Promise((resolve) => setTimeout(resolve, ms));
}

async function hold(name, ms) {
	const lock = await locker().acquire([name], Number(ms));
	console.log("held");
	await new Promise((resolve) => process.stdin.on("end", resolve).resume());
	await lock.release();
	console.log("released");
}

async function attempt(name) {
	let lock;
	try {
		lock = await locker().acquire([name], 5000);
	} catch (error) {
		console.error(error.message);
		return error.name === "ExecutionError" ? 1 : 2;
	}
	await lock.release();
	return 0;
}

async function acquirePatiently(redlock, name, ms) {
	for (;;) {
		try {
			return await redlock.acquire([name], ms);
		} catch (error) {
			if (error.name !== "ExecutionError")
				throw error;
			await pause(20 + 20 * Math.random());
		}
	}
}

async function count(name, file, times) {
	const redlock = locker();
	for (let i = 0; i < Number(times); i++) {
		const lock = await acquirePatiently(redlock, name, 10000);
		const number = Number(fs.readFileSync(file, "utf8"));
		// Long enough for another to come between, if it could.
		await pause(2);
		fs.writeFileSync(file, `${number + 1}\n`);
		await lock.release();
		// Neither of the two has a queue that the other stands in: whoever came
		// again at once would hardly let anybody else in.
		await pause(30 * Math.random());
	}
}

async function main() {
	const [action, ...operands] = process.argv.slice(2);
	const actions = { hold, try: attempt, count };
	let status = 2;
	try {
		status = (await actions[action](...operands)) || 0;
	} catch (error) {
		console.error(error);
	}
	clients.forEach((client) => client.disconnect());
	process.exitCode = status;
}

main();
