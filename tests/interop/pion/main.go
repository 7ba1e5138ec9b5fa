// One Pion peer that speaks WHIP (RFC 9725) or WHEP by net/http: it plays files to an address, or
// keeps what it watched and heard. JSON on argv: see asked. Prints one JSON line when it has what it
// was asked for; the end of its input has it leave, and say in a last line how that went.
//
// Built by test_pion.py against Debian's golang-github-pion-webrtc.v3-dev, without modules: there
// the package is at its path without the version.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/pion/ice/v2"
	"github.com/pion/interceptor"
	"github.com/pion/webrtc"
)

// Everything that is waited for ends by then.
const patience = 30 * time.Second

type asked struct {
	Role  string `json:"role"` // "publish" or "play"
	URL   string `json:"url"`  // where the offer is posted
	Token string `json:"token"`
	// Annex-B H.264 and Ogg with one packet of Opus a page: what is played, or what is kept. No
	// sound when the name is empty.
	Video string `json:"video"`
	Sound string `json:"sound"`
	FPS   int    `json:"fps"`
	// Every so many pictures one is lost on the way, and nothing can bring it back; 0: none.
	Loses int `json:"loses"`
	// How many pictures, and packets of sound, are kept before the first line is printed.
	Frames  int `json:"frames"`
	Packets int `json:"packets"`
}

type peer struct {
	asked
	connection *webrtc.PeerConnection
	client     http.Client
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	one := &peer{client: http.Client{Timeout: patience}}
	if err := json.Unmarshal([]byte(os.Args[1]), &one.asked); err != nil {
		return err
	}
	var err error
	if one.connection, err = connection(); err != nil {
		return err
	}
	defer one.connection.Close()
	role := one.publish
	if one.Role == "play" {
		role = one.play
	}
	// Tracks are added; what it returns does the rest once the answer is there.
	work, err := role()
	if err != nil {
		return err
	}
	location, setup, err := one.exchange()
	if err != nil {
		return err
	}
	told, err := work()
	if err != nil {
		return err
	}
	told["location"], told["setup"] = location, setup
	if err := say(told); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	left, _, err := one.call(http.MethodDelete, location, "")
	if err != nil {
		return err
	}
	return say(map[string]interface{}{"left": left.StatusCode, "restarts": restarts.Load()})
}

func say(told map[string]interface{}) error {
	return json.NewEncoder(os.Stdout).Encode(told)
}

// A connection of H.264 and Opus that knows no address but the loopback's.
func connection() (*webrtc.PeerConnection, error) {
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(net.IP.IsLoopback)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	media := &webrtc.MediaEngine{}
	feedback := []webrtc.RTCPFeedback{
		{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"},
	}
	video := webrtc.RTPCodecParameters{PayloadType: 102, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType:     webrtc.MimeTypeH264,
		ClockRate:    90000,
		SDPFmtpLine:  "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
		RTCPFeedback: feedback,
	}}
	if err := media.RegisterCodec(video, webrtc.RTPCodecTypeVideo); err != nil {
		return nil, err
	}
	sound := webrtc.RTPCodecParameters{PayloadType: 111, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2,
		SDPFmtpLine: "minptime=10;useinbandfec=1",
	}}
	if err := media.RegisterCodec(sound, webrtc.RTPCodecTypeAudio); err != nil {
		return nil, err
	}
	// NACK and reports, both ways.
	registry := &interceptor.Registry{}
	if err := webrtc.RegisterDefaultInterceptors(media, registry); err != nil {
		return nil, err
	}
	api := webrtc.NewAPI(
		webrtc.WithSettingEngine(settings),
		webrtc.WithMediaEngine(media),
		webrtc.WithInterceptorRegistry(registry),
	)
	return api.NewPeerConnection(webrtc.Configuration{})
}

// exchange posts the offer and takes the answer; the peer's address, and what the offer's a=setup
// was. The offer is sent with all of its candidates (RFC 9725 4.3.2 leaves that to the client).
func (one *peer) exchange() (location, setup string, err error) {
	offer, err := one.connection.CreateOffer(nil)
	if err != nil {
		return "", "", err
	}
	gathered := webrtc.GatheringCompletePromise(one.connection)
	if err := one.connection.SetLocalDescription(offer); err != nil {
		return "", "", err
	}
	<-gathered
	sdp := one.connection.LocalDescription().SDP
	response, answer, err := one.call(http.MethodPost, one.URL, sdp)
	if err != nil {
		return "", "", err
	}
	if response.StatusCode != http.StatusCreated {
		return "", "", fmt.Errorf("%s: %s", response.Status, answer)
	}
	base, err := url.Parse(one.URL)
	if err != nil {
		return "", "", err
	}
	made, err := base.Parse(response.Header.Get("Location"))
	if err != nil {
		return "", "", err
	}
	connected := make(chan struct{}, 1)
	one.connection.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected {
			select {
			case connected <- struct{}{}:
			default: // once more, after a while without
			}
		}
	})
	description := webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}
	if err := one.connection.SetRemoteDescription(description); err != nil {
		return "", "", err
	}
	select {
	case <-connected:
	case <-time.After(patience):
		return "", "", fmt.Errorf("not connected after %s", patience)
	}
	_, after, _ := strings.Cut(sdp, "a=setup:")
	setup, _, _ = strings.Cut(after, "\r\n")
	return made.String(), setup, nil
}

func (one *peer) call(method, url, sdp string) (*http.Response, string, error) {
	request, err := http.NewRequest(method, url, bytes.NewReader([]byte(sdp)))
	if err != nil {
		return nil, "", err
	}
	request.Header.Set("Authorization", "Bearer "+one.Token)
	if sdp != "" {
		request.Header.Set("Content-Type", "application/sdp")
	}
	response, err := one.client.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response, string(body), err
}
