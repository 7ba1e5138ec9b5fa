// Runs in a page of the service: WHIP and WHEP by fetch, with trickle ICE as RFC 9725 4.3.2 wants it:
// the offer goes at once, and the candidates follow in one PATCH.
globalThis.exchange = async (connection, url, token) => {
  const candidates = [];
  const gathered = new Promise((resolve) => {
    connection.onicecandidate = ({ candidate }) =>
      candidate === null ? resolve() : candidates.push(candidate.candidate);
  });
  await connection.setLocalDescription();
  const offer = connection.localDescription.sdp;
  const headers = { authorization: `Bearer ${token}` };
  const answer = await fetch(url, {
    method: "POST",
    headers: { ...headers, "content-type": "application/sdp" },
    body: offer,
  });
  const sdp = await answer.text();
  if (answer.status !== 201) throw new Error(`${answer.status}: ${sdp}`);
  await connection.setRemoteDescription({ type: "answer", sdp });
  await gathered;
  const kept = offer.split("\r\n").filter((line) => /^a=(ice-ufrag|ice-pwd|mid):/.test(line));
  const medium = offer.split("\r\n").find((line) => line.startsWith("m="));
  const lines = [medium, ...kept.slice(0, 3), ...candidates.map((one) => `a=${one}`)];
  const location = answer.headers.get("location");
  const trickled = await fetch(location, {
    method: "PATCH",
    headers: {
      ...headers,
      "content-type": "application/trickle-ice-sdpfrag",
      "if-match": answer.headers.get("etag"),
    },
    body: [...lines, "a=end-of-candidates", ""].join("\r\n"),
  });
  return { location, trickled: trickled.status, offered: offer.includes("a=candidate:") };
};

globalThis.publish = async (token) => {
  const camera = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 360 } });
  globalThis.sending = new RTCPeerConnection();
  sending.addTransceiver(camera.getVideoTracks()[0], { direction: "sendonly" });
  return exchange(sending, "/v1/whip", token);
};

globalThis.watch = async (url, token, frames) => {
  globalThis.watching = new RTCPeerConnection();
  watching.addTransceiver("video", { direction: "recvonly" });
  const video = document.createElement("video");
  Object.assign(video, { id: "watched", muted: true });
  document.body.append(video);
  watching.ontrack = ({ track }) => {
    video.srcObject = new MediaStream([track]);
    video.play();
  };
  const told = await exchange(watching, url, token);
  for (let seen = 0; seen < frames; seen += 1) {
    await new Promise((resolve) => video.requestVideoFrameCallback(resolve));
  }
  return told;
};
