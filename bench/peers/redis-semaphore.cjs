// redis-semaphore.cjs - RedlockMutex of redis-semaphore of npm, as its README has it: its
// default settings, but a wait that does not end before the figure does.
"use strict";

const { drive, need } = require("./driver.cjs");
const { RedlockMutex } = need("redis-semaphore");

drive((clients) => ({
	async lock(name) {
		const mutex = new RedlockMutex(clients, name, { acquireTimeout: 600000 });
		await mutex.acquire();
		return mutex;
	},
	unlock: (mutex) => mutex.release(),
}));
